// Rounds, medians and tables.

/** Runs every way once a round; a first round that does not count warms up. Resolves to the times by way, in milliseconds. */
export async function rounds(ways, runs) {
  const times = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
  for (let round = 0; round <= runs; round++) {
    for (const [name, way] of Object.entries(ways)) {
      const took = await way();
      if (round > 0) times[name].push(took);
    }
    process.stderr.write(".");
  }
  process.stderr.write("\n");
  return times;
}

/** The time that something takes, in milliseconds. */
export async function timed(work) {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

export function median(values) {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[sorted.length >> 1];
}

/**
 * A table of medians with their spread, and each of the ratios. A ratio is the median of the rounds' own ratios: what slows
 * a round down slows both.
 */
export function table(times, ratios, unit = (ms) => `${ms.toFixed(0)} ms`) {
  const rows = Object.entries(times).map(([name, all]) => `| ${name} | ${unit(median(all))} | ${unit(Math.min(...all))} – ${unit(Math.max(...all))} |`);
  const compared = ratios.map(({ of, to, most }) => {
    const ratio = median(times[of].map((time, round) => time / times[to][round]));
    const verdict = most === undefined ? "" : ratio <= most ? `✓ at most ${most}` : `**✗** at most ${most}`;
    return `| ${of} | ${to} | ${ratio.toFixed(2)} | ${verdict} |`;
  });
  return ["| | median | from – to |", "|---|---|---|", ...rows, "", "| | against | ratio | aim |", "|---|---|---|---|", ...compared].join("\n");
}
