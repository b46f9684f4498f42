//! The limits of what grows with what a server, a peer, a client or a user sends. Each constant is beside the code that it bounds;
//! this table lists them all, and `tests/tests/limits.rs` writes it. Those of the core are in its own table.
//!
//! No constant bounds the queue that `serve/queue.rs` has for each configured peer and for plain URLs: it holds the ids of unfinished
//! rows, and the ledger, which is on the disk, has those anyway. A connection to the server needs a place of
//! [`Limits`](crate::server::Limits).
//!
//! | limit | of | constant |
//! |---|---|---|
//! | `65_536` | Longer ones are no addresses, and the state file does not take them | `address.rs` `LONGEST_URL_BYTES` |
//! | `8` | Most names that an error shows | `address.rs` `MOST_NAMES` |
//! | `512` | Sessions at once | `api/auth.rs` `MOST` |
//! | `32` | Sessions of one client at once | `api/auth.rs` `MOST_OF_A_CLIENT` |
//! | `500` | Downloads of a page at most | `api/downloads.rs` `LARGEST_PAGE` |
//! | `64 << 20` | Longest body of a batch that is one JSON object | `api/downloads.rs` `LARGEST_BATCH_BYTES` |
//! | `100_000` | Most downloads of a batch | `api/downloads.rs` `LARGEST_BATCH` |
//! | `1000` | Refusals that are listed | `api/downloads.rs` `MOST_REFUSED` |
//! | `4` | Requests that may query the ledger at once | `api/mod.rs` `AT_ONCE` |
//! | `256` | The longest user name that is kept in the cookie, in bytes | `api/qbittorrent.rs` `LONGEST_USER_BYTES` |
//! | `64` | Torrents of one request | `api/qbittorrent.rs` `MOST_ADDED` |
//! | `1000` | Stubs shown at once | `api/status.rs` `MOST_STUBS` |
//! | `4 << 20` | The largest body: some stubs | `api/torrent_json.rs` `MOST_BODY_BYTES` |
//! | `500` | Releases of a page | `api/torznab.rs` `MOST_LIMIT` |
//! | `100_000` | Releases whose first appearance is remembered | `api/torznab.rs` `MOST_DATED` |
//! | `16 << 20` | Longest answer that is read: a page of downloads is far below | `cli/downloads/remote.rs` `LARGEST_BYTES` |
//! | `4 << 20` | Longest document | `cli/get/metalink.rs` `MAX_BYTES` |
//! | `10_000` | Most files of a document | `cli/get/metalink.rs` `MAX_FILES` |
//! | `100` | Most sources of a file | `cli/get/metalink.rs` `MAX_URLS` |
//! | `16 << 20` | Longest file that an option names | `cli/get/network.rs` `MAX_FILE_BYTES` |
//! | `256` | How many downloads may be waiting, for a permit or for another attempt, beside those whose bytes move | `cli/get/run.rs` `MAX_WAITING` |
//! | `32` | Targets accepted at once: in order, but with one write to the ledger for several | `cli/get/run.rs` `ACCEPTED_AT_ONCE` |
//! | `16 << 20` | Longest file of digests | `cli/get/target.rs` `MAX_CHECKSUMS_BYTES` |
//! | `64 * 1024` | Longest line | `cli/get/target.rs` `MAX_LINE_BYTES` |
//! | `1_000_000` | Most lines | `cli/get/target.rs` `MAX_LINES` |
//! | `1 << 20` | Most bytes of a key file that are read: more keys than anybody has peers | `cli/peers.rs` `LARGEST_KEY_FILE` |
//! | `32_768` | The longest link, prefix included | `config/link.rs` `LONGEST_BYTES` |
//! | `100` | Most headers of a link | `config/link.rs` `MOST_HEADERS` |
//! | `100` | Longest name, in characters | `config/link.rs` `LONGEST_NAME` |
//! | `1 << 20` | Larger files are no configuration | `config/load.rs` `LARGEST_BYTES` |
//! | `60` | More of a number is not shown | `config/object.rs` `LONGEST_SHOWN` |
//! | `8 << 10` | No secret is longer; a file that is was meant to be another one | `config/object.rs` `LONGEST_BYTES` |
//! | `LONGEST_BYTES as u64 + 16` | A file with a byte order mark, the longest secret and some ends of lines | `config/object.rs` `LARGEST_BYTES` |
//! | `1000` | Downloads that are added in one transaction | `control/downloads.rs` `BATCH` |
//! | `16` | Downloads of a batch that are looked at alone, at once | `control/downloads.rs` `AT_ONCE` |
//! | `1024` | Events a subscriber may be behind by | `control/events.rs` `QUEUE` |
//! | `64` | Subscribers at once | `control/events.rs` `SUBSCRIBERS` |
//! | `10_000` | Torrents and categories at once, each | `control/torrents.rs` `MOST` |
//! | `64 << 10` | The largest text beside a stub that failed | `control/torrents.rs` `MOST_WHY_BYTES` |
//! | `8` | Folders of a category, one below the other | `control/torrents.rs` `DEEPEST` |
//! | `Duration::from_secs(600)` | A command that runs longer is stopped | `hooks.rs` `LONGEST_RUN` |
//! | `1024` | Bytes of a line that are passed on | `hooks.rs` `LONGEST_LINE` |
//! | `10_000` | Rows that are kept, unless more than that are unfinished | `ledger/memory.rs` `MOST_ROWS` |
//! | `Duration::from_secs(5)` | The longest wait before the next connection | `ledger/postgres/link.rs` `LONGEST_PAUSE` |
//! | `64` | Requests that may wait | `ledger/sqlite/queue.rs` `REQUESTS` |
//! | `8` | Requests that one peer gets at once | `peers/client.rs` `ASKED_AT_ONCE` |
//! | `256 << 10` | Largest handshake or release | `peers/client.rs` `LARGEST_BYTES` |
//! | `16 << 20` | Largest result of a search: without an id it is all that the peer has | `peers/client.rs` `LARGEST_SEARCH_BYTES` |
//! | `5000` | Largest result of a search: without an id it is all that the peer has | `peers/client.rs` `MOST_RELEASES` |
//! | `1024` | Longest id, as for stubs | `peers/release.rs` `LONGEST_ID_BYTES` |
//! | `8 << 10` | What is kept of a release beside what has a meaning here, at most | `peers/release.rs` `LARGEST_KEPT_BYTES` |
//! | `64` | Longest version | `peers/release.rs` `LONGEST_BYTES` |
//! | `1024` | Stubs of one peer that are claimed at once | `serve/claims.rs` `STUBS_OF_A_PEER` |
//! | `1024` | Downloads that wait for their command, at most | `serve/daemon.rs` `MOST_HOOKS` |
//! | `20` | Lines of a command's output that are logged | `serve/daemon.rs` `MOST_LINES` |
//! | `20` | Longest process id that is read from the lock | `serve/folders.rs` `LONGEST_PID` |
//! | `Duration::from_secs(60)` | The longest pause between two looks at storage that is down | `serve/folders.rs` `LONGEST_PAUSE` |
//! | `2` | Commands that one server gets at once | `serve/import.rs` `AT_ONCE` |
//! | `Duration::from_secs(300)` | Between two rounds of attempts, at first and at most | `serve/import.rs` `LONGEST_REST` |
//! | `256` | Downloads that are asked about at once: those that changed last | `serve/import_poll.rs` `MOST_CANDIDATES` |
//! | `10` | Records of one page, and pages of one answer | `serve/import_poll.rs` `MOST_PAGES` |
//! | `500` | The longest reason that is shown, in characters | `serve/import_poll.rs` `LONGEST_REASON` |
//! | `60` | How often a server is asked for a release that it does not have in its queue | `serve/import_poll.rs` `MOST_ASKED` |
//! | `Duration::from_secs(300)` | Between two attempts to register, at first and at most | `serve/import_poll.rs` `LONGEST_REST` |
//! | `64 << 10` | How much of an answer is read, so that its connection ends in good order | `serve/import_server.rs` `MOST_READ_BYTES` |
//! | `8 << 20` | The largest answer that is used: a page of a queue or a history | `serve/import_server.rs` `LARGEST_ANSWER_BYTES` |
//! | `10` | Most redirects of one request | `serve/import_server.rs` `MOST_REDIRECTS` |
//! | `Duration::from_secs(3600)` | Between two tries, at first and at most | `serve/queue.rs` `LONGEST_REST` |
//! | `64` | Downloads of one source that are under way at once | `serve/queue.rs` `UNDER_WAY` |
//! | `64` | Downloads whose import is taken up at once | `serve/queue.rs` `IMPORTS_AT_ONCE` |
//! | `512` | Rows that are read at once | `serve/queue.rs` `READ_AT_ONCE` |
//! | `99` | Names that are tried for a stub in `failed/` if others are taken | `serve/stub_folder.rs` `MOST_NAMES` |
//! | `Duration::from_secs(15)` | The longest wait for what may be over at any moment and costs little to look at: a destination that is in use, a folder that is gone | `serve/stub_run.rs` `LONGEST_REST` |
//! | `30` | Wrong keys of a network that are answered like the first | `server/guesses.rs` `AT_ONCE` |
//! | `4096` | Networks that are remembered at once; the one whose last wrong key is the oldest makes room | `server/guesses.rs` `MOST_NETWORKS` |
//! | `32` | Connections that made room and are not closed yet; while there are more, a newcomer waits | `server/places.rs` `MOST_LEAVING` |
//! | `64 << 10` | Longest body | `server/reply.rs` `MOST_BYTES` |
//! | `1 << 20` | A longer one is not even read to its end | `server/reply.rs` `MOST_SKIPPED_BYTES` |
//! | `1000` | Most items that a search returns | `share/inventory.rs` `MAX_RESULTS` |
//! | `256 << 20` | The longest answer that is read: some ten thousand films are far below | `share/library.rs` `LARGEST_BYTES` |
//! | `100` | The longest name of a key, in characters | `share/routes.rs` `LONGEST_NAME` |
//! | `64` | Most files that wait to be hashed again because peers ask for them | `share/state.rs` `HASHED_AGAIN` |
//! | `200_000` | Most files that are shared; a scan stops there | `share/tree.rs` `MAX_FILES` |
//! | `2_000_000` | Most names that a scan looks at | `share/tree.rs` `MAX_NAMES` |
//! | `16` | Folders within folders | `share/tree.rs` `MAX_DEPTH` |
//! | `2` | How many takeovers that a crash interrupted can be taken over: `.lock.new`, `.lock.new.new` | `store/lock_file.rs` `DEEPEST` |
//! | `4096` | A lock file is about 300 bytes | `store/lock_file.rs` `LONGEST_BYTES` |
//! | `4 << 20` | The longest body that is read: a thousand parts, or an error | `store/object/client.rs` `LARGEST_BODY` |
//! | `1024` | The longest key, in bytes | `store/object/client.rs` `LONGEST_KEY` |
//! | `5 << 40` | The largest object | `store/object/part.rs` `LARGEST_OBJECT_BYTES` |
//! | `10_000` | The most parts of an upload, and for how many a part's size is chosen: some may turn out smaller | `store/object/part.rs` `MOST_PARTS` |
//! | `1024` | Most failures that are remembered | `transport/address_policy.rs` `MAX_FAILED` |
//! | `32` | Most idle connections to one origin by one way | `transport/client.rs` `MAX_IDLE_PER_ROUTE` |
//! | `256` | Most idle connections in all | `transport/client.rs` `MAX_IDLE` |
//! | `Duration::from_secs(60)` | How long a connection is kept | `transport/client.rs` `MAX_IDLE_TIME` |
//! | `8 * 16_384` | What is decrypted at most for one read of an encrypted socket: eight records | `transport/connection.rs` `MAX_DECRYPTED_BYTES` |
//! | `8 * 1024` | Longest cookie, with its attributes | `transport/cookies.rs` `MAX_COOKIE_BYTES` |
//! | `50` | Most cookies of one domain | `transport/cookies.rs` `MAX_OF_DOMAIN` |
//! | `1000` | Most cookies | `transport/cookies.rs` `MAX_COOKIES` |
//! | `16 * 1024` | Longest `Cookie` header of ours | `transport/cookies.rs` `MAX_HEADER_BYTES` |
//! | `16` | Most addresses of one name that are tried | `transport/dial.rs` `MAX_ADDRESSES` |
//! | `16 * 1024` | Longest answer to a CONNECT | `transport/dial.rs` `MAX_ANSWER_BYTES` |
//! | `256 * 1024` | Longest response head | `transport/head.rs` `MAX_HEAD_BYTES` |
//! | `512` | Most fields of a head that are kept | `transport/head.rs` `MAX_KEPT_FIELDS` |
//! | `50` | Most `Set-Cookie` fields of a head; the others are ignored | `transport/head.rs` `MAX_COOKIES` |
//! | `64` | Most interim responses (1xx) before the response | `transport/head.rs` `MAX_INTERIM` |
//! | `8` | How many of them are kept, and how long: their servers wait | `transport/http_transport.rs` `MOST_AHEAD` |
//! | `Duration::from_secs(10)` | How many of them are kept, and how long: their servers wait | `transport/http_transport.rs` `KEPT_AHEAD` |
//! | `10` | Most redirects of one request | `transport/redirect.rs` `MAX_HOPS` |
