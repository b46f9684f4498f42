// Promises of the store's contract that a sink of this package does not keep, and why.

/** `js/regrip.js` locks a path before it opens the sink. */
const LOCKS = "a_part_has_one_writer";
/** Sinks are told where to write by the core, which counts; looking at the size at each write would cost a turn. */
const HOLES = "a_part_never_has_a_hole";
/** Without an identity of files, a crash in the commit is repaired by the size alone. */
const IDENTITY = ["tokens_tell_parts_apart", "an_interrupted_commit_is_found"];
/** The bytes are where they are from the beginning: there is one name, and nothing to rename. */
const NAMES = ["a_commit_gives_the_part_its_name", "a_file_at_the_destination_is_replaced_only_if_asked"];

export const STORE_EXCEPTIONS = {
  file: [LOCKS, HOLES],
  opfs: [LOCKS, HOLES, ...IDENTITY],
  nameless: [LOCKS, HOLES, ...IDENTITY, ...NAMES],
  // What a stream was given it never gives back.
  stream: [LOCKS, HOLES, ...IDENTITY, ...NAMES, "a_part_is_removed_once"],
};
