// The login: shown if the API requires a key.

import { api } from "./api.js";
import { mark, page, say } from "./elements.js";
import { failure } from "./words.js";

// That there is a session, not the key: the cookie cannot be seen from here.
const LOGGED_IN = "regrip-logged-in";
export const hasLoggedIn = () => localStorage.getItem(LOGGED_IN) !== null;

// Shows the form, until the server takes a key.
export function logIn() {
  const form = page("login");
  const key = page("key");
  const wrong = page("key-wrong");
  page("board").hidden = true;
  page("pages").hidden = true;
  page("trouble").hidden = true;
  page("add").hidden = true;
  page("leave").hidden = true;
  localStorage.removeItem(LOGGED_IN);
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  page("link").className = "";
  say(page("link"), "Locked");
  say(page("summary"), "");
  form.hidden = false;
  key.focus();
  return new Promise((resolve) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      mark(key, wrong, key.value === "" ? "The key is missing." : "");
      if (key.value === "") return;
      try {
        await api("session", { method: "POST", body: { key: key.value } });
      } catch (error) {
        mark(key, wrong, error.status === 401 ? "The key is wrong." : failure(error));
        return;
      }
      form.reset();
      form.hidden = true;
      localStorage.setItem(LOGGED_IN, "yes");
      say(page("link"), "Connecting");
      resolve();
    };
  });
}
