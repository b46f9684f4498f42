// The sink of `plain`: writes what it is sent.
const root = await navigator.storage.getDirectory();
const file = await (await root.getFileHandle("file", { create: true })).createSyncAccessHandle();

addEventListener("message", ({ data: { chunks, at, end } }) => {
  for (const chunk of chunks ?? []) {
    file.write(chunk, { at });
    at += chunk.length;
  }
  if (end) {
    file.flush();
    file.close();
  }
  postMessage(at);
});
