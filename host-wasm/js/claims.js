// The destinations of this process's downloads, with the names beside them: of the part, of its record and its lock.
//
// Invariant: no destination is a name that another download keeps for its partial data.

/** How many downloads have this destination: several engines may try, and the lock decides. */
const destinations = new Map();
/** By a name that is kept: `{ path, count }`, the destination that it is kept for. */
const kept = new Map();

/**
 * The destination whose partial data has, or would have, the name of another download's file. Answers with `{ name, path }`: the
 * name, and whose partial data it is.
 */
export function meeting(path, names) {
  const other = kept.get(path);
  if (other) return { name: path, path: other.path };
  const name = names.find((name) => destinations.has(name));
  return name === undefined ? undefined : { name, path };
}

/** Has a destination and the names beside it be taken until the returned function is called. */
export function claim(path, names) {
  destinations.set(path, (destinations.get(path) ?? 0) + 1);
  for (const name of names) {
    if (!kept.has(name)) kept.set(name, { path, count: 0 });
    kept.get(name).count++;
  }
  return () => {
    const left = destinations.get(path) - 1;
    if (left > 0) destinations.set(path, left);
    else destinations.delete(path);
    for (const name of names) if (--kept.get(name).count === 0) kept.delete(name);
  };
}
