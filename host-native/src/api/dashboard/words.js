// Units and phrases, those of `regrip list` and `show`; and what a person can do about an error.

import { Refused, now } from "./api.js";

export const RESTARTS = {
  part_oversize: "the part was longer than the file",
  part_changed: "the part was not as it was left",
  content_range_mismatch: "the server sent another range than was asked for",
  validator_changed: "the file was replaced on the server",
  overlap_mismatch: "the server had other bytes where the part ended",
  range_ignored: "the server sent the whole file again",
  range_not_satisfiable: "the server said that the file is shorter than the part",
  range_refused: "the server refuses ranges and sent other bytes",
  digest_mismatch: "the whole file had another digest",
};

const GOES_ON = "Retry continues from the partial data.";
export const ADVICE = {
  Certificate: "Check the server's name and clock, or trust its certificate authority, then retry.",
  Coded: "The server applies a Content-Encoding; ask its owner to send files unchanged.",
  CredentialsMissing: "The download needs headers, which are never stored: add it again with them, or add them to the configuration of its peer and retry.",
  DestinationBusy: "Another download has this destination: remove it first, or choose another file name.",
  DestinationExists: "A file of this name is there: move it away and retry, or add this under another name.",
  DestinationRefused: "Move the link, folder or device with this name away, then retry.",
  DigestConflict: "Two sources state different digests for this file; find out which one is right.",
  DigestMismatch: "The source may have another file: check the digest, then retry to download it again.",
  Disk: "Check the disk and the permissions of the folder, then retry.",
  DiskFull: "Free some space on the disk, then retry: the download continues from the partial data.",
  ForeignPart: "A part that is not regrip's is in the way: move it away, then retry.",
  Ledger: "Check the disk with the data folder, then retry.",
  Lost: "Retry downloads it again.",
  NameRefused: "The peer must give the file a safe name.",
  PartLocked: "Another process is writing the part file: wait for it to end, then retry. If nothing is writing it, delete the lock file named in the error.",
  ProxyRefused: "Check the proxy's address, user and password; then retry.",
  Tls: "The server must support TLS 1.2 with ECDHE, or TLS 1.3.",
  TooLarge: "If the file is supposed to be that large, raise maxDownloadBytes, then retry.",
  TooManyRestarts: "The file keeps changing on the server: retry later.",
  UnexpectedPage: "Open the address in a browser: it may need a login or a new link. The partial data is kept.",
  UnknownSize: "The server states no length, so regrip could not tell a complete file from a cut one.",
  superseded: "Nothing to do: another download replaced this one.",
};
const OF_STATUS = {
  401: "The server requires credentials, or rejects the ones sent.",
  403: "The server requires credentials, or rejects the ones sent.",
  404: "Check the address: the server does not have this file.",
  410: "Check the address: the server does not have this file any more.",
};

export function advice({ error_code: code, error }) {
  const status = code === "Status" && /\b\d{3}\b/.exec(error ?? "");
  return (status && OF_STATUS[status[0]]) || ADVICE[code] || GOES_ON;
}

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  const units = ["kB", "MB", "GB", "TB", "PB", "EB"];
  let value = count / 1000;
  let unit = 0;
  for (; value >= 999.5 && unit < 5; unit += 1) value /= 1000;
  return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${units[unit]}`;
}

export function wait(ms) {
  const seconds = Math.floor(ms / 1000);
  if (ms < 100) return `${Math.round(ms)} ms`;
  if (seconds < 10) return `${(ms / 1000).toFixed(1)} s`;
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

// In whole seconds, so that it does not flicker while it is counted down.
export function inAWhile(at) {
  const left = Date.parse(at) - now();
  return left < 1000 ? "now" : `in ${left < 10000 ? `${Math.ceil(left / 1000)} s` : wait(left)}`;
}

export function ago(at) {
  const seconds = Math.floor((now() - Date.parse(at)) / 1000);
  if (!(seconds >= 2)) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return seconds < 172800 ? `${Math.floor(seconds / 3600)} h ago` : `${Math.floor(seconds / 86400)} d ago`;
}

// A time left, of a fixed shape so that it does not dance: 00:12, 1:02:03.
export function clock(seconds) {
  if (seconds >= 86400) return seconds < 8640000 ? wait(seconds * 1000) : "> 99 d";
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const minutes = `${two((seconds % 3600) / 60)}:${two(seconds % 60)}`;
  return seconds < 3600 ? minutes : `${Math.floor(seconds / 3600)}:${minutes}`;
}

const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const times = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
export const moment = (at) => (Number.isNaN(Date.parse(at)) ? String(at) : moments.format(Date.parse(at)));
export const time = (at) => (Number.isNaN(Date.parse(at)) ? String(at) : times.format(Date.parse(at)));
export const counted = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
export const joined = (...parts) => parts.filter(Boolean).join(" · ");

// Without what could turn the text around it: control characters, and those that change the direction of writing.
export const plain = (text) =>
  String(text ?? "").replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

export const failure = (error) => (error instanceof Refused ? plain(error.message) : "The server does not answer.");
