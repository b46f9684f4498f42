// Plain objects as the module reads and writes them, field by field. The other side is `src/fields.rs`.
export class Fields {
  constructor(all = {}) {
    this.all = all;
  }

  putText(name, value) {
    this.all[name] = value;
  }
  putNumber(name, value) {
    this.all[name] = value;
  }
  putFlag(name, value) {
    this.all[name] = value;
  }
  /** As text, so that a record is JSON. */
  putBytes(name, bytes) {
    this.all[name] = btoa(String.fromCharCode(...bytes));
  }

  text(name) {
    return typeof this.all[name] === "string" ? this.all[name] : undefined;
  }
  word(name, index) {
    return this.text(name)?.split(":")[index]?.trim();
  }
  number(name) {
    return typeof this.all[name] === "number" ? this.all[name] : undefined;
  }
  flag(name) {
    return this.all[name] === true;
  }
  bytes(name) {
    const text = this.text(name);
    return text === undefined ? undefined : Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  }
}
