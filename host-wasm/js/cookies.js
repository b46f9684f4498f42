// Cookies (RFC 6265) for hosts whose `fetch` keeps none. Cookies set by responses are kept in memory and sent back only as
// §5.4 allows.
//
// No list of public suffixes is used. A cookie for a domain without a dot is refused, and so is one for what looks like the
// suffix of a country (`co.uk`).

const MAX_COOKIE_LENGTH = 8 * 1024;
const MAX_OF_DOMAIN = 50;
const MAX_COOKIES = 1000;
const MAX_HEADER_LENGTH = 16 * 1024;

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

export class Cookies {
  /** `{ name, value, domain, hostOnly, path, secure, expires }` by domain, path and name, in order of creation. */
  #kept = new Map();

  /** Keeps what `Set-Cookie` fields of a response from `url` set. */
  keep(url, fields) {
    for (const field of fields) {
      const cookie = field.length <= MAX_COOKIE_LENGTH ? parse(field, new URL(url)) : undefined;
      if (cookie) this.#insert(cookie);
    }
  }

  /**
   * The `Cookie` header of a request to `url`, or null. `given` is the caller's own: its cookies come first, without those
   * that the server has set anew.
   */
  header(url, given) {
    const matching = this.#matching(new URL(url));
    if (matching.length === 0) return given;
    const names = new Set(matching.map(({ name }) => name));
    const pairs = (given ?? "").split(";").map((pair) => pair.trim());
    const own = pairs.filter((pair) => pair !== "" && !names.has(pair.split("=")[0].trim()));
    let length = 0;
    const sent = matching.map(({ name, value }) => `${name}=${value}`).filter((pair) => (length += pair.length) <= MAX_HEADER_LENGTH);
    return [...own, ...sent].join("; ");
  }

  #matching({ protocol, hostname, pathname }) {
    this.#forgetExpired();
    const matches = ({ domain, hostOnly, path, secure }) =>
      (hostOnly ? hostname === domain : isWithin(hostname, domain)) && isBelow(pathname, path) && (!secure || protocol === "https:" || isLoopback(hostname));
    // The longer path first; a sort keeps the older one of two first.
    return [...this.#kept.values()].filter(matches).sort((one, other) => other.path.length - one.path.length);
  }

  #insert(cookie) {
    const key = JSON.stringify([cookie.domain, cookie.path, cookie.name]);
    this.#forgetExpired();
    if (cookie.expires <= Date.now()) {
      this.#kept.delete(key);
    } else if (this.#kept.has(key) || (this.#kept.size < MAX_COOKIES && this.#countOf(cookie.domain) < MAX_OF_DOMAIN)) {
      this.#kept.set(key, cookie);
    }
  }

  #countOf(domain) {
    return [...this.#kept.values()].filter((cookie) => cookie.domain === domain).length;
  }

  #forgetExpired() {
    const now = Date.now();
    for (const [key, { expires }] of this.#kept) if (expires <= now) this.#kept.delete(key);
  }
}

/** RFC 6265 §5.2 and §5.3; undefined if it is not to be kept. */
function parse(field, { hostname, pathname }) {
  const [pair, ...attributes] = field.split(";");
  const [name, value] = split(pair);
  // What no request header can have, is not kept.
  if (name === "" || value === undefined || /[^\t\x20-\x7e\x80-\xff]/.test(pair)) return undefined;
  const cookie = { name, value, domain: hostname, hostOnly: true, path: defaultPath(pathname), secure: false, expires: Infinity };
  let maxAge;
  for (const attribute of attributes) {
    const [key, value = ""] = split(attribute);
    switch (key.toLowerCase()) {
      case "domain": {
        const domain = value.replace(/^\./, "").toLowerCase();
        if (domain !== "") Object.assign(cookie, { domain, hostOnly: false });
        break;
      }
      case "path":
        cookie.path = value.startsWith("/") ? value : defaultPath(pathname);
        break;
      case "secure":
        cookie.secure = true;
        break;
      case "expires":
        cookie.expires = parseDate(value) ?? cookie.expires;
        break;
      case "max-age":
        if (/^-?\d+$/.test(value)) maxAge = Number(value);
        break;
    }
  }
  if (maxAge !== undefined) cookie.expires = maxAge > 0 ? Date.now() + maxAge * 1000 : 0;
  if (cookie.domain === hostname) return cookie;
  return isWithin(hostname, cookie.domain) && !isPublicSuffix(cookie.domain) ? cookie : undefined;
}

/** Name and value; no value without a `=`. */
function split(pair) {
  const at = pair.indexOf("=");
  return at < 0 ? [pair.trim()] : [pair.slice(0, at).trim(), pair.slice(at + 1).trim()];
}

/** §5.1.1, in milliseconds since 1970; undefined if it is no date. */
function parseDate(text) {
  let time, day, month, year;
  for (const token of text.split(/[\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+/)) {
    let found;
    if (!time && (found = /^(\d{1,2}):(\d{1,2}):(\d{1,2})(\D|$)/.exec(token))) time = found.slice(1, 4).map(Number);
    else if (day === undefined && (found = /^(\d{1,2})(\D|$)/.exec(token))) day = Number(found[1]);
    else if (month === undefined && MONTHS.includes(token.slice(0, 3).toLowerCase())) month = MONTHS.indexOf(token.slice(0, 3).toLowerCase());
    else if (year === undefined && (found = /^(\d{2,4})(\D|$)/.exec(token))) year = Number(found[1]);
  }
  if (year < 70) year += 2000;
  else if (year < 100) year += 1900;
  const [hour, minute, second] = time ?? [];
  if (!(hour < 24 && minute < 60 && second < 60 && day >= 1 && day <= 31 && month >= 0 && year >= 1601)) return undefined;
  return Date.UTC(year, month, day, hour, minute, second);
}

/** §5.1.3. */
const isWithin = (host, domain) => host === domain || (host.endsWith(`.${domain}`) && !isAddress(host));

/** What is sent there does not leave the machine. */
const isLoopback = (host) => host === "localhost" || host === "[::1]" || /^127(\.\d+){3}$/.test(host);

const isAddress = (host) => host.startsWith("[") || /^[\d.]+$/.test(host);

/** §5.1.4: whether a path is the cookie's, or below it. */
const isBelow = (path, parent) => path === parent || path.startsWith(parent.endsWith("/") ? parent : `${parent}/`);

const defaultPath = (path) => path.slice(0, Math.max(path.lastIndexOf("/"), 1));

/** A domain that many owners share, as far as its form shows: one label, or a short one below a country. */
function isPublicSuffix(domain) {
  const labels = domain.split(".");
  return labels.length === 1 || (labels.length === 2 && labels[1].length === 2 && labels[0].length <= 3);
}
