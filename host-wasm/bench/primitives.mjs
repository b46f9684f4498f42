// The primitives alone: what a million cycles cost beside p-retry and p-limit. Nothing fails and nobody waits, so that all
// of it is overhead.
import pLimit from "p-limit";
import pRetry from "p-retry";
import { Semaphore, retry } from "../pkg/retry.js";
import { rounds, table } from "./rounds.mjs";

/** Under way at once, where there are more tasks than permits. */
const CROWD = 64;

/** Milliseconds of processor time: all of it is overhead, and what else the machine does is not counted. */
async function cpuTime(work) {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

export async function primitives({ runs, cycles }) {
  const work = async () => 1;
  const permits = new Semaphore(4);
  const limit = pLimit(4);
  const oneByOne = (cycle) => () =>
    cpuTime(async () => {
      for (let count = 0; count < cycles; count++) await cycle();
    });
  /** As many tasks at once as the crowd, each taking the next cycle when it is through with one. */
  const crowded = (cycle) => () =>
    cpuTime(async () => {
      let left = cycles;
      const task = async () => {
        while (left-- > 0) await cycle();
      };
      await Promise.all(Array.from({ length: CROWD }, task));
    });
  const ways = {
    "`await work()`": oneByOne(work),
    "`retry`": oneByOne(() => retry(work)),
    "p-retry": oneByOne(() => pRetry(work)),
    "`Semaphore.run`": oneByOne(() => permits.run(work)),
    "p-limit": oneByOne(() => limit(work)),
    [`\`Semaphore.run\`, ${CROWD} at once for 4 permits`]: crowded(() => permits.run(work)),
    [`p-limit, ${CROWD} at once for 4`]: crowded(() => limit(work)),
  };
  const times = await rounds(ways, runs);
  const [, ours, theirs, permitsAlone, limitAlone, permitsCrowded, limitCrowded] = Object.keys(ways);
  const ratios = [
    { of: ours, to: theirs },
    { of: permitsAlone, to: limitAlone },
    { of: permitsCrowded, to: limitCrowded },
  ];
  return table(times, ratios, (ms) => `${((1e6 * ms) / cycles).toFixed(0)} ns`);
}
