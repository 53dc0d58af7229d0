// Tells by a path that it fetches what it shows, and whether it came with the page or was put in its place.
import { word } from "./word.js";

const show = (word, how) => {
  document.getElementById("shown").textContent = word;
  return fetch(`/shown/${word}/${how}/${location.protocol.replace(":", "")}`);
};
// Before it tells that it is there: what changes from then on is to be put in its place.
import.meta.hot.accept("./word.js", (changed) => show(changed.word, "replaced"));
await show(word, "loaded");
