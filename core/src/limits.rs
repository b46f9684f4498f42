//! The limits of what grows with what a server, a peer or a user sends. Each constant is beside the code that it bounds; this table
//! lists them all, and `tests/tests/limits.rs` writes it.
//!
//! What the configuration sets is in [`DownloadsConfig`](crate::DownloadsConfig): downloads and connections at once, attempts,
//! restarts, `windowBytes` for what is received out of order, `maxDownloadBytes` for a file. A semaphore's queue has one entry for
//! each future that waits, which its caller holds.
//!
//! | limit | of | constant |
//! |---|---|---|
//! | `16` | The deepest nesting that is accepted | `bencode.rs` `DEEPEST` |
//! | `16` | The most that can be asked for | `config.rs` `MOST` |
//! | `4` | The most that `auto` opens | `config.rs` `MOST_AUTO` |
//! | `64` | The number of complete files without a name that may be open beside those whose data is transferred | `engine/downloads.rs` `NAMED_AT_ONCE` |
//! | `512` | The longest field in bytes | `http/validator.rs` `LONGEST_BYTES` |
//! | `255` | The longest file name, in bytes, on common file systems | `name.rs` `LONGEST_BYTES` |
//! | `256 << 10` | What a piece may have for the pump beyond its reservation | `pieces.rs` `AHEAD_BYTES` |
//! | `3` | Pieces of one source in a row that may break without progress | `pieces.rs` `MOST_BROKEN` |
//! | `512` | The longest result in characters, including the ellipsis | `shown.rs` `LONGEST` |
//! | `64 << 10` | The largest stub, in bytes | `stub.rs` `LARGEST_BYTES` |
//! | `1024` | The longest item id and name, in bytes | `stub.rs` `LONGEST_TEXT_BYTES` |
//! | `2048` | Pieces that a stub claims if a piece can be long enough, and at most | `stub.rs` `MOST_PIECES` |
//! | `1 << 30` | Torrent libraries read the length of a piece as a 32-bit integer | `stub.rs` `LARGEST_PIECE_BYTES` |
//! | `16 << 20` | The longest comparison if the last bytes of the part are all the same | `transfer.rs` `WIDEST_OVERLAP_BYTES` |
//! | `2` | The number of requests of one attempt after its first | `transfer.rs` `EXTRA_REQUESTS` |
