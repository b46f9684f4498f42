// Which cookies are kept, and which requests they are sent with (RFC 6265).
import assert from "node:assert/strict";
import { test } from "node:test";
import { Cookies } from "../js/cookies.js";

function sentAfter(from, fields, to, given = null) {
  const cookies = new Cookies();
  cookies.keep(from, fields);
  return cookies.header(to, given);
}

test("a cookie is sent only to the hosts and paths it is for", () => {
  const from = "https://www.a.test/x/y";
  const table = [
    ["k=v", "https://www.a.test/x/z", true],
    ["k=v", "http://www.a.test/x/z", true],
    ["k=v", "https://www.a.test:8443/x/z", true],
    ["k=v", "https://www.a.test/x", true],
    ["k=v", "https://www.a.test/xy", false],
    ["k=v", "https://www.a.test/z", false],
    ["k=v; Path=/", "https://www.a.test/z", true],
    ["k=v; path=relative", "https://www.a.test/x/z", true],
    ["k=v; Path=/", "https://files.a.test/", false],
    ["k=v; Path=/", "https://a.test/", false],
    ["k=v; Path=/; Domain=a.test", "https://files.a.test/", true],
    ["k=v; Path=/; Domain=.A.test", "https://a.test/", true],
    ["k=v; Path=/; Domain=a.test", "https://b.test/", false],
    ["k=v; Path=/; Domain=a.test", "https://nota.test/", false],
    ["k=v; Path=/; Domain=b.test", "https://b.test/", false],
    ["k=v; Path=/; Domain=files.a.test", "https://files.a.test/", false],
    ["k=v; Path=/; Domain=test", "https://b.test/", false],
    ["k=v; Path=/; Secure", "http://www.a.test/", false],
    ["k=v; Path=/; Secure", "https://www.a.test/", true],
    ["k=v; Path=/; HttpOnly; SameSite=Strict", "https://www.a.test/", true],
    ["k=v; Path=/; Max-Age=0", "https://www.a.test/", false],
    ["k=v; Path=/; Max-Age=-1", "https://www.a.test/", false],
    ["k=v; Path=/; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "https://www.a.test/", true],
    ["k=v; Path=/; Max-Age=soon", "https://www.a.test/", true],
    ["k=v; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "https://www.a.test/", false],
    ["k=v; Path=/; Expires=Sunday, 06-Nov-94 08:49:37 GMT", "https://www.a.test/", false],
    ["k=v; Path=/; Expires=Sun Nov  6 08:49:37 1994", "https://www.a.test/", false],
    ["k=v; Path=/; Expires=Fri, 31 Dec 9999 23:59:59 GMT", "https://www.a.test/", true],
    ["k=v; Path=/; Expires=never", "https://www.a.test/", true],
  ];
  for (const [field, to, isSent] of table) assert.equal(sentAfter(from, [field], to), isSent ? "k=v" : null, `${field} to ${to}`);
});

test("a cookie is not shared by all names of a suffix, nor by addresses that end alike", () => {
  for (const [from, domain, to] of [
    ["http://a.co.uk/", "co.uk", "http://b.co.uk/"],
    ["http://a.com/", "com", "http://b.com/"],
    ["http://10.0.0.1/", "0.0.1", "http://20.0.0.1/"],
  ]) {
    assert.equal(sentAfter(from, [`k=v; Domain=${domain}`], to), null, domain);
  }
  assert.equal(sentAfter("http://www.bbc.example.uk/", ["k=v; Domain=example.uk"], "http://example.uk/"), "k=v");
  assert.equal(sentAfter("http://10.0.0.1/", ["k=v; Domain=10.0.0.1"], "http://10.0.0.1/"), "k=v");
  assert.equal(sentAfter("http://127.0.0.1/", ["k=v; Secure"], "http://127.0.0.1/"), "k=v");
});

test("a cookie that is set again is replaced, and one that expires is removed", () => {
  const cookies = new Cookies();
  cookies.keep("http://a.test/", ["k=1", "l=2"]);
  cookies.keep("http://a.test/", ["k=3"]);
  assert.equal(cookies.header("http://a.test/", null), "k=3; l=2");
  cookies.keep("http://a.test/", ["k=; Max-Age=0"]);
  assert.equal(cookies.header("http://a.test/", null), "l=2");
});

test("the caller's own cookies are first, and give way to those that the server sets anew", () => {
  const fields = ["session=new", "other=x; Path=/deep/"];
  assert.equal(sentAfter("http://a.test/", fields, "http://a.test/deep/", "mine=1; session=old; more=2"), "mine=1; more=2; other=x; session=new");
  assert.equal(sentAfter("http://a.test/", [], "http://a.test/", "mine=1"), "mine=1");
});

test("cookies are bounded, and what is not a cookie is ignored", () => {
  const cookies = new Cookies();
  cookies.keep("http://a.test/", ["", ";;", "=", "=v", "k", "k=\u0001", "k=\u{100}", `long=${"x".repeat(8192)}`]);
  assert.equal(cookies.header("http://a.test/", null), null);
  for (let number = 0; number < 100; number++) cookies.keep("http://a.test/", [`k${number}=${"x".repeat(1000)}`]);
  cookies.keep("http://a.test/", ["k0=new"]);
  const header = cookies.header("http://a.test/", null);
  assert.ok(header.startsWith("k0=new; ") && header.length < 17_000, String(header.length));
  for (let number = 0; number < 2000; number++) cookies.keep(`http://${number}.test/`, ["k=v"]);
  assert.equal(cookies.header("http://1999.test/", null), null);
  assert.equal(cookies.header("http://900.test/", null), "k=v");
});
