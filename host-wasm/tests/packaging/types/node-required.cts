// The same package by `require`.
import regrip = require("regrip");

export async function downloads(): Promise<number> {
  const engine: regrip.Engine = new regrip.Engine({ folder: "films" });
  const { bytes } = await engine.download("https://host/film", "film", { sha256: true });
  return bytes + (await regrip.retry(async (attempt) => attempt));
}

// @ts-expect-error: a browser's
export const picker = regrip.saveAs;
