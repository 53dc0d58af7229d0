// Release notes, where each updater's clients look for them: src/cli/publish/notes.rs says why.
import fs from "node:fs";
import { Failure } from "./client.mjs";

/** The files by path, with the notes in every manifest that has a place for them, else in a file beside. */
export function withNotes(files, notes) {
  const all = new Map();
  const made = text => {
    const bytes = Buffer.from(text);
    return { bytes, size: bytes.length };
  };
  for (const [name, content] of files) {
    if (name.startsWith("releases/") && name.endsWith(".yml")) {
      all.set(name, made(intoChannel(fs.readFileSync(content.path, "utf8"), notes)));
    } else if (name === "releases/latest.json") {
      all.set(name, made(intoTauri(content.path, notes)));
    } else {
      all.set(name, content);
      if (name.endsWith(".sig")) all.set(name.replace(/[^/]+$/, "notes.md"), made(notes));
    }
  }
  return all;
}

function intoChannel(manifest, notes) {
  let kept = "";
  let within = false;
  for (const line of manifest.match(/[^\n]*\n|[^\n]+$/g) ?? []) {
    if (!/^[ \t\-\r\n#]/.test(line)) within = line.startsWith("releaseNotes:");
    if (!within) kept += line;
  }
  if (kept && !kept.endsWith("\n")) kept += "\n";
  return `${kept}releaseNotes: ${JSON.stringify(notes)}\n`;
}

function intoTauri(file, notes) {
  let parsed;
  try {
    parsed = JSON.parse(fs.readFileSync(file, "utf8"));
  } catch {
    parsed = undefined;
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new Failure(`${file} is not JSON, so the notes cannot be put into it`);
  }
  return `${JSON.stringify({ ...parsed, notes }, null, 2)}\n`;
}
