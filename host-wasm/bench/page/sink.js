// The sink of `plain`: writes what it is sent.
const opening = open();

async function open() {
  const root = await navigator.storage.getDirectory();
  return (await root.getFileHandle("file", { create: true })).createSyncAccessHandle();
}

addEventListener("message", async ({ data: { chunks, at, end } }) => {
  const file = await opening;
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
