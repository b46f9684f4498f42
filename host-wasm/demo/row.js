// One film on the page: what is known of it, and how it looks. It decides nothing and asks nobody.

/** What the state is called, by its key. */
const WORDS = {
  idle: "not begun",
  queued: "in line",
  downloading: "downloading",
  waiting: "waiting",
  paused: "paused",
  whole: "whole",
  failed: "failed",
};

/** The window of the speed. */
const SPEED_MS = 1_500;

export class Row {
  /** Its number in the engine, once that knows it. */
  id;
  state = "idle";
  #bytes = 0;
  #total;
  #attempts = 0;
  #restarts = 0;
  /** Where each attempt began. */
  #starts = [];
  #word = "";
  #until;
  #marks = [];
  #parts;

  /** `buttons`: what each of them does. */
  constructor({ name, url, trouble = "", canReplace = false, version = 0 }, template, buttons) {
    Object.assign(this, { name, url, canReplace, version });
    this.element = template.content.firstElementChild.cloneNode(true);
    const part = (selector) => this.element.querySelector(selector);
    this.#parts = Object.fromEntries([".state", ".bar", ".count", ".go", ".replace", ".save", ".remove"].map((name) => [name.slice(1), part(name)]));
    part("h3").textContent = name;
    part(".trouble").textContent = trouble;
    part(".trouble").hidden = !trouble;
    this.#parts.bar.setAttribute("aria-label", name);
    for (const [button, act] of Object.entries(buttons)) this.#parts[button].addEventListener("click", () => act(this));
    this.draw();
  }

  /** Takes an event of the engine in. */
  hear(event) {
    this.id = event.id;
    this.#until = undefined;
    switch (event.event) {
      case "queued":
        this.#set("queued");
        break;
      case "started":
        this.#attempts = event.attempt;
        this.#bytes = event.from;
        // What an earlier page fetched is one stretch.
        if (this.#starts.length === 0 && event.from > 0) this.#starts.push(0);
        this.#starts.push(event.from);
        this.#marks = [];
        this.#set("downloading");
        break;
      case "headers":
        this.#total = event.expectedBytes ?? this.#total;
        this.#set("downloading");
        break;
      case "progress":
        this.#bytes = event.bytes;
        this.#total = event.total ?? this.#total;
        this.#mark(event);
        this.#set("downloading");
        break;
      case "restart":
        this.#restarts++;
        this.#starts = [0];
        this.#bytes = 0;
        break;
      case "retrying":
        this.#until = event.at + event.delayMs;
        this.#set("waiting", reason(event.error));
        break;
      case "waiting":
        this.#until = event.until;
        if (event.why === "paused") this.#set("paused");
        else this.#set("waiting", event.why);
        break;
      case "completed":
        this.#bytes = this.#total = event.bytes;
        this.#set("whole", event.sha256 ? `SHA-256 ${event.sha256.slice(0, 8)}` : "");
        break;
      case "cancelled":
        this.#set("paused");
        break;
      case "failed":
        this.#set("failed", reason(event.error));
    }
    this.draw();
  }

  /** What a record of an earlier page says. */
  found({ id, status, bytes, expectedBytes, attempts, restarts, error }) {
    this.id = id;
    this.#bytes = bytes;
    this.#total = expectedBytes;
    this.#attempts = attempts;
    this.#restarts = restarts;
    this.#starts = bytes > 0 ? [0] : [];
    if (status === "paused" || status === "cancelled") this.#set("paused");
    else if (status === "failed") this.#set("failed", reason(error));
    else this.#set("queued");
    this.draw();
  }

  /** It is in the private file system, whole. */
  there(size) {
    this.#bytes = this.#total = size;
    this.#starts = [0];
    this.#set("whole");
    this.draw();
  }

  /** Nothing of it is there any more. */
  gone() {
    this.id = this.#total = undefined;
    this.#bytes = this.#attempts = this.#restarts = 0;
    this.#starts = [];
    this.#set("idle");
    this.draw();
  }

  get running() {
    return ["queued", "downloading", "waiting"].includes(this.state);
  }

  draw() {
    const { state, bar, count, go, save, remove, replace } = this.#parts;
    this.element.dataset.state = this.state;
    state.textContent = this.#stateText();
    count.textContent = this.#countText();
    go.textContent = this.running ? "Pause" : this.state === "idle" ? "Start" : this.state === "failed" ? "Try again" : "Go on";
    go.hidden = this.state === "whole";
    save.hidden = this.state !== "whole";
    remove.hidden = this.running || this.state === "idle";
    replace.hidden = !this.canReplace || this.state === "whole";
    replace.textContent = this.version === 0 ? "Replace it" : "Put it back";
    this.#drawBar(bar);
  }

  #set(state, word = "") {
    this.state = state;
    this.#word = word;
  }

  #stateText() {
    if (this.state === "downloading") return this.#marks.length > 1 ? `downloading, ${megabytes(this.#speed())}/s` : WORDS.downloading;
    const left = this.#until === undefined ? undefined : Math.max(this.#until - Date.now(), 0);
    const wait = left === undefined ? "" : ` ${(left / 1000).toFixed(1)} s`;
    return `${WORDS[this.state]}${wait}${this.#word && `: ${this.#word}`}`;
  }

  #countText() {
    if (this.state === "idle") return "";
    const size = this.#total === undefined ? megabytes(this.#bytes) : this.state === "whole" ? megabytes(this.#total) : `${megabytes(this.#bytes)} of ${megabytes(this.#total)}`;
    return [size, this.#attempts > 0 && plural(this.#attempts, "attempt"), this.#restarts > 0 && plural(this.#restarts, "restart")].filter(Boolean).join(" · ");
  }

  #drawBar(bar) {
    const share = (bytes) => (this.#total ? (100 * bytes) / this.#total : 0);
    const stretches = this.#starts.map((from, index) => [share(from), share(this.#starts[index + 1] ?? this.#bytes)]);
    while (bar.children.length > stretches.length) bar.lastChild.remove();
    while (bar.children.length < stretches.length) bar.append(document.createElement("i"));
    stretches.forEach(([from, to], index) => {
      const { style } = bar.children[index];
      style.left = `${from}%`;
      style.width = `${Math.max(to - from, 0)}%`;
    });
    bar.setAttribute("aria-valuenow", Math.floor(share(this.#bytes)));
  }

  #mark({ at, bytes }) {
    this.#marks.push([at, bytes]);
    while (this.#marks.length > 2 && at - this.#marks[0][0] > SPEED_MS) this.#marks.shift();
  }

  /** Bytes a second. */
  #speed() {
    const [[begun, before], [now, bytes]] = [this.#marks[0], this.#marks.at(-1)];
    return now > begun ? (1000 * (bytes - before)) / (now - begun) : 0;
  }
}

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/** The last link of a chain of errors says the most in few words. */
function reason(text = "") {
  return text.split(": ").slice(-1)[0];
}
