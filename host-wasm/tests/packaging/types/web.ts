// What a page may write, and what it may not.
import { Engine, HandleSink, IndexedDbLedger, MemorySink, OpfsSink, download, openFile, removeFile, saveAs } from "regrip";
import * as web from "regrip/web";
import type { To } from "regrip/web";

export async function page(bar: HTMLProgressElement): Promise<void> {
  const engine = new Engine({ maxConcurrentDownloads: 3, ledger: new IndexedDbLedger("films") });
  for await (const event of engine.start({ url: location.href, to: "big.iso" })) bar.value = event.bytes ?? bar.value;
  const picked = await (await navigator.storage.getDirectory()).getFileHandle("big.iso");
  const places: To[] = ["films/big.iso", picked, new HandleSink(picked), new OpfsSink("big.iso", { worker: false }), new MemorySink(), new WritableStream<Uint8Array>()];
  for (const to of places) await engine.download("/big.iso", to);
  const file: File = await openFile("big.iso");
  const saved: boolean = await saveAs("big.iso", { suggestedName: file.name, picker: false });
  if (saved) await removeFile("big.iso");
}

export async function mistakes(): Promise<void> {
  // @ts-expect-error: a path by URL is Node's
  await web.download("/big.iso", new URL("file:///big.iso"));
  // @ts-expect-error: a folder is Node's
  new web.Engine({ folder: "films" });
  // @ts-expect-error: a name
  await openFile();
  // @ts-expect-error: Node's
  const { FileSink } = await import("regrip/web");
  void FileSink;
}
