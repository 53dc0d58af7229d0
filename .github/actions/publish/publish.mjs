#!/usr/bin/env node
// `seance publish` without the binary: for build machines that have Node 20 or later, and a GitHub Action.
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { Client, Failure, LONG_PATIENCE, Refused, RefusedBuild, Usage } from "./client.mjs";
import { build, machine, site } from "./mapping.mjs";
import { withNotes } from "./notes.mjs";

const HELP = `node publish.mjs [DIR] --to URL   the key in BUILDER_KEY, or --key-file FILE

  DIR               what electron-builder made (dist/) or Tauri (target/release/bundle/)
  --web DIR         a static site, published below web/
  --app NAME        the app, when it is not the default one or the one of the host
  --platform NAME   directory below releases/ for the whole build, instead of one by system and processor
  --notes FILE      release notes: they go into the manifests, where updaters show them
  --draft ID        put the files into this draft, and leave it to another job to publish it
  --open            open a draft for other jobs, and print its id
  --finish          publish the draft, after its files were put into it
  --rollout N       share of the clients that get the new version at first, 0 to 100
  --force           publish although the checks object, or a version that is published has other bytes now
  --job NAME        name of this job among those that fill the draft; by default system and processor
  --parallel N      parts that are sent at a time, 1 to 32 (4)
  --tries N         times that a request is sent before it is given up (10)
  --dry-run         only show what would be published; nothing is sent or asked
  --json            print the outcome as JSON, and no progress

Exit codes: 0 done; 1 failed; 2 the command line, or the directory, is not right; 3 the build was refused by the checks;
4 the daemon cannot be reached; 5 it does not take the key. An authority of your own: NODE_EXTRA_CA_CERTS=FILE.`;

const TEXT = ["to", "app", "key-file", "web", "platform", "notes", "draft", "rollout", "job", "parallel", "tries"];
const FLAGS = ["open", "finish", "force", "dry-run", "json", "help"];
const BATCH = 1000;
const ROUNDS = 3;
/** In a row, after which the rest goes through the daemon. */
const BUCKET_FAILURES = 3;
const HASHED_AT_ONCE = 4;
const LINE = 5_000;
const KEPT = 8 * 24 * 3600_000;
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Of the command line; under GitHub Actions, without one, the inputs of the action. */
function settings() {
  const { env } = process;
  const given = {};
  let directory;
  if (env.GITHUB_ACTIONS && process.argv.length === 2) {
    const input = name => (env[`INPUT_${name.toUpperCase()}`] ?? "").trim() || undefined;
    for (const name of TEXT) given[name] = input(name);
    for (const name of FLAGS) given[name] = input(name) === "true";
    directory = input("directory");
    given.key = input("key");
  } else {
    try {
      const options = Object.fromEntries([...TEXT.map(name => [name, { type: "string" }]), ...FLAGS.map(name => [name, { type: "boolean" }])]);
      const parsed = parseArgs({ options, allowPositionals: true });
      Object.assign(given, parsed.values);
      if (parsed.positionals.length > 1) throw new Usage("one directory at a time");
      [directory] = parsed.positionals;
    } catch (error) {
      throw new Usage(error.message);
    }
  }
  const number = (name, least, most, otherwise) => {
    const text = given[name];
    if (text === undefined) return otherwise;
    if (!/^\d+$/.test(text) || +text < least || +text > most) throw new Usage(`--${name} is ${text}; it has to be ${least} to ${most}`);
    return +text;
  };
  const draft = given.draft?.toLowerCase();
  if (draft !== undefined && !ID.test(draft)) throw new Usage(`${given.draft} is not the id of a draft`);
  if (given.finish && !draft) throw new Usage("--finish wants --draft ID");
  if (given.open && (directory || given.web || draft || given["dry-run"])) throw new Usage("--open stands alone");
  if (given.notes && !directory) throw new Usage("--notes wants a directory with manifests");
  if (!directory && !given.web && !given.open && !given.finish && !given.help) {
    throw new Usage("nothing to do: name a directory, or --open, or --draft ID --finish");
  }
  const { os: system, arch } = machine();
  return {
    ...given,
    directory,
    draft,
    to: given.to ?? env.BUILDER_URL,
    rollout: number("rollout", 0, 100, undefined),
    parallel: number("parallel", 1, 32, 4),
    tries: number("tries", 1, 100, 10),
    job: given.job ?? `${system}-${arch}`,
    dryRun: given["dry-run"],
  };
}

function key(given) {
  const file = given["key-file"] ?? process.env.BUILDER_KEY_FILE;
  const text = (given.key ?? (file ? fs.readFileSync(file, "utf8") : process.env.BUILDER_KEY) ?? "").trim();
  if (!text) throw new Usage("a builder key is required: --key-file FILE, or BUILDER_KEY in the environment");
  if (process.env.GITHUB_ACTIONS) process.stdout.write(`::add-mask::${text}\n`);
  return text;
}

/** Bytes of a stage, told now and then. */
class Progress {
  constructor(silent) {
    this.silent = silent;
    this.begin("", 0);
    this.timer = silent ? undefined : setInterval(() => this.total && this.say(this.line()), LINE);
    this.timer?.unref();
  }

  begin(label, total) {
    Object.assign(this, { label, total, done: 0, began: Date.now() });
  }

  say(line) {
    if (!this.silent) process.stderr.write(`${line}\n`);
  }

  line() {
    const rate = this.done / Math.max(0.001, (Date.now() - this.began) / 1000);
    const percent = this.total ? Math.floor((this.done / this.total) * 100) : 100;
    const left = rate > 0 ? `, ${Math.ceil((this.total - this.done) / rate)} seconds left` : "";
    return `${this.label}: ${size(this.done)} of ${size(this.total)} (${percent} %), ${size(rate)}/s${left}`;
  }
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const at = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${at ? (bytes / 1024 ** at).toFixed(2) : Math.round(bytes)} ${units[at]}`;
}

function sources(given) {
  const files = new Map();
  const skipped = [];
  for (const [directory, map] of [[given.directory, () => build(given.directory, given.platform)], [given.web, () => site(given.web)]]) {
    if (!directory) continue;
    let placed;
    try {
      placed = map();
    } catch (error) {
      throw error instanceof Failure ? error : new Usage(`cannot read ${directory}: ${error.message}`);
    }
    if (placed.files.size === 0) throw new Usage(`there is nothing to publish in ${directory}`);
    for (const [name, file] of placed.files) files.set(name, { path: file.path, size: file.size });
    skipped.push(...placed.skipped);
  }
  const all = given.notes ? withNotes(files, fs.readFileSync(given.notes, "utf8").trimEnd()) : files;
  const order = (one, other) => Buffer.compare(Buffer.from(one.name), Buffer.from(other.name));
  const list = [...all].map(([name, content]) => ({ name, content })).sort(order);
  return { list, skipped };
}

/** Runs `work` for every entry, at most `limit` at a time. After a failure nothing new is begun. */
async function each(list, limit, work) {
  const pending = list[Symbol.iterator]();
  let failed = false;
  const worker = async () => {
    for (let next = pending.next(); !next.done && !failed; next = pending.next()) {
      try {
        await work(next.value);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: limit }, worker));
  const end = ends.find(({ status }) => status === "rejected");
  if (end) throw end.reason;
}

async function hash(items, progress) {
  progress.begin("hashing", items.reduce((sum, { content }) => sum + content.size, 0));
  await each(items, HASHED_AT_ONCE, async item => {
    const digest = crypto.createHash("sha256");
    let length = 0;
    const chunks = item.content.bytes ? [item.content.bytes] : fs.createReadStream(item.content.path, { highWaterMark: 1 << 18 });
    try {
      for await (const chunk of chunks) {
        digest.update(chunk);
        length += chunk.length;
        progress.done += chunk.length;
      }
    } catch (error) {
      throw new Failure(`cannot read ${item.content.path}: ${error.message}`);
    }
    item.content.size = length;
    item.sha256 = digest.digest("hex");
  });
}

/** Which draft an interrupted run was filling; the same file as `seance publish` keeps. */
class Memory {
  constructor(base, job, items) {
    const text = [base, job, ...items.map(item => item.sha256 + item.name), ""].join("\n");
    const name = crypto.createHash("sha256").update(text).digest("hex").slice(0, 32);
    const { XDG_STATE_HOME } = process.env;
    const state = XDG_STATE_HOME && path.isAbsolute(XDG_STATE_HOME) ? XDG_STATE_HOME : path.join(os.homedir(), ".local/state");
    const directory = path.join(state, "seance", "publish");
    this.file = path.join(directory, name);
    for (const entry of fs.existsSync(directory) ? fs.readdirSync(directory) : []) {
      const file = path.join(directory, entry);
      const stat = fs.statSync(file, { throwIfNoEntry: false });
      if (stat && Date.now() - stat.mtimeMs > KEPT) fs.rmSync(file, { force: true });
    }
  }

  draft() {
    try {
      const id = fs.readFileSync(this.file, "utf8").trim();
      return ID.test(id) ? id : undefined;
    } catch {
      return undefined; // As good as none: the files are sent again.
    }
  }

  remember(id) {
    fs.mkdirSync(path.dirname(this.file), { recursive: true });
    const whole = `${this.file}.${process.pid}.new`;
    fs.writeFileSync(whole, id);
    fs.renameSync(whole, this.file);
  }

  forget() {
    fs.rmSync(this.file, { force: true });
  }
}

async function find(client, id) {
  try {
    return await client.ask("GET", `/api/drafts/${id}`);
  } catch (error) {
    if (error.status === 404) throw Object.assign(new Failure(`the draft ${id} is unknown, or has expired`), { unknown: true });
    throw error;
  }
}

const open = client => client.ask("POST", "/api/releases", {});

async function resumed(client, memory) {
  const id = memory.draft();
  if (id) {
    try {
      return await find(client, id);
    } catch (error) {
      if (!error.unknown) throw error;
    }
  }
  const draft = await open(client);
  memory.remember(draft.id);
  return draft;
}

/** What the daemon lacks; files with the same bytes are sent once. */
async function declare(client, draft, job, items) {
  const lacking = new Map();
  for (let at = 0; at < items.length; at += BATCH) {
    const batch = items.slice(at, at + BATCH);
    const files = batch.map(({ name, content, sha256 }) => ({ path: name, size: content.size, sha256 }));
    const declared = await client.ask("PUT", `/api/drafts/${draft.id}/files`, { job, files });
    declared.files.forEach(({ state, upload, missingParts = [] }, index) => {
      if (state === "missing" && !lacking.has(upload)) lacking.set(upload, { item: batch[index], upload, parts: missingParts });
    });
  }
  return [...lacking.values()];
}

/** Gives a sender of parts past the daemon; it says whether the bucket took one, and whatever it did not the daemon takes. */
function bucket(client, offered, progress) {
  let failures = offered ? 0 : BUCKET_FAILURES;
  return async (path, what, ...part) => {
    if (failures >= BUCKET_FAILURES) return false;
    try {
      await client.putSigned(path, ...part);
      failures = 0;
      return true;
    } catch (error) {
      failures += 1;
      progress.say(`${what} goes through the daemon, the bucket did not take it: ${error.message}`);
      return false;
    }
  };
}

async function fill(client, draft, given, items, progress) {
  const span = (item, n) => {
    const offset = Math.min((n - 1) * draft.partBytes, item.content.size);
    return [offset, Math.min(draft.partBytes, item.content.size - offset)];
  };
  let sent;
  let refused = [];
  for (let round = 0; round < ROUNDS; round++) {
    const lacking = await declare(client, draft, given.job, items);
    const bytes = lacking.reduce((sum, { item, parts }) => sum + parts.reduce((part, n) => part + span(item, n)[1], 0), 0);
    sent ??= { files: lacking.length, bytes };
    refused = [];
    progress.begin("sending", bytes);
    // What came wrong by way of the bucket does not go that way again.
    const takes = bucket(client, draft.presignedParts && round === 0, progress);
    const steps = lacking.flatMap(file => {
      file.left = file.parts.length;
      return file.left ? file.parts.map(n => ({ file, n })) : [{ file }];
    });
    await each(steps, given.parallel, async ({ file, n }) => {
      const { item } = file;
      const at = `/api/drafts/${draft.id}/uploads/${encodeURIComponent(file.upload)}`;
      if (n !== undefined) {
        const counted = bytes => (progress.done += bytes);
        const part = [`part ${n} of ${item.name}`, item.content, ...span(item, n), counted];
        if (!(await takes(`${at}/parts/${n}/url`, ...part))) await client.put(`${at}/parts/${n}`, ...part);
        if (--file.left > 0) return;
      }
      try {
        await client.ask("POST", `${at}/complete`, {}, LONG_PATIENCE);
      } catch (error) {
        if (!(error instanceof Refused) || ![409, 422].includes(error.status)) throw error;
        refused.push(`${item.name}: ${error.body?.message ?? error.body?.error}`);
      }
    });
    if (refused.length === 0) return sent;
  }
  throw Object.assign(new Failure(`the daemon would not take: ${refused.join("; ")}`), { reasons: refused });
}

async function publish(client, draft, given) {
  try {
    const body = { force: Boolean(given.force), ...(given.rollout === undefined ? {} : { rollout: given.rollout }) };
    return await client.ask("POST", `/api/drafts/${draft.id}/publish`, body, LONG_PATIENCE);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const line = entry => (entry?.path && entry?.message ? `${entry.path}: ${entry.message}` : typeof entry === "string" ? entry : JSON.stringify(entry));
    const changed = (error.body?.paths ?? []).map(path => `${path}: is published with other bytes`);
    const reasons = [...(error.body?.reasons ?? []).map(line), ...changed];
    const missing = error.status === 409 ? (error.body?.missing ?? []).map(line) : [];
    const told = (text, lines) => `${text}${lines.map(reason => `\n  ${reason}`).join("")}`;
    if (missing.length) throw Object.assign(new Failure(told("the draft is not complete, these files are missing:", missing)), { reasons: missing });
    if (reasons.length) throw Object.assign(new RefusedBuild(told("refused, nothing was published:", reasons)), { reasons });
    throw error;
  }
}

async function run(given, progress) {
  const hasFiles = Boolean(given.directory || given.web);
  const { list: items, skipped } = sources(given);
  if (given.dryRun) {
    await hash(items, progress);
    const plan = items.map(({ name, content, sha256 }) => ({ path: name, size: content.size, sha256 }));
    return { published: false, plan, skipped };
  }
  if (!given.to) throw new Usage("the address of the daemon is required: --to URL, or BUILDER_URL in the environment");
  const client = new Client(given.to, given.app, key(given), given, line => progress.say(line));
  try {
    if (given.open) {
      const { id, expires } = await open(client);
      return { draft: id, expires };
    }
    for (const name of skipped) progress.say(`left out: ${name}`);
    await hash(items, progress);
    const memory = new Memory(client.base, given.job, items);
    const draft = given.draft ? await find(client, given.draft) : await resumed(client, memory);
    const outcome = { draft: draft.id, published: false };
    // A published draft takes nothing more, and gives its answer again.
    if (draft.record == null && hasFiles) {
      const sent = await fill(client, draft, given, items, progress);
      const bytes = items.reduce((sum, { content }) => sum + content.size, 0);
      Object.assign(outcome, { files: items.length, bytes, skipped, sent });
    }
    if (!given.draft || given.finish) {
      const { record, warnings } = await publish(client, draft, given);
      Object.assign(outcome, { published: true, record, warnings });
    }
    memory.forget();
    return outcome;
  } finally {
    client.close();
  }
}

function told(outcome) {
  if (outcome.expires) return [outcome.draft];
  const lines = (outcome.plan ?? []).map(file => `${size(file.size).padStart(12)}  ${file.path}`);
  if (outcome.plan) lines.push(...outcome.skipped.map(name => `    left out  ${name}`));
  lines.push(...(outcome.warnings ?? []).map(({ path, message }) => `warning: ${path}: ${message}`));
  if (outcome.files !== undefined) {
    lines.push(`${outcome.files} files, ${size(outcome.bytes)}; ${outcome.sent.files} of them, ${size(outcome.sent.bytes)}, had to be sent`);
  }
  if (outcome.published) lines.push(`published as record ${outcome.record}`);
  else if (outcome.draft) lines.push(`draft ${outcome.draft} is filled, not published`);
  return lines;
}

/** For the steps and jobs after this one. */
function outputs({ draft, record, sent }) {
  const file = process.env.GITHUB_OUTPUT;
  const values = Object.entries({ draft, record, "sent-bytes": sent?.bytes }).filter(([, value]) => value !== undefined);
  if (file) fs.appendFileSync(file, values.map(([name, value]) => `${name}=${value}\n`).join(""));
}

async function main() {
  let given = { json: process.argv.includes("--json") };
  try {
    given = settings();
    if (given.help) return console.log(HELP);
    const outcome = await run(given, new Progress(given.json));
    outputs(outcome);
    console.log(given.json ? JSON.stringify(outcome) : told(outcome).join("\n"));
  } catch (error) {
    if (given.json) console.log(JSON.stringify({ error: error.message, reasons: error.reasons ?? [] }));
    console.error(`publish: ${error.message}`);
    process.exitCode = error.code > 0 ? error.code : 1;
  }
}

await main();
