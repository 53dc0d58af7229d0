// From the files of a build to the paths they are published under: the same as src/cli/publish/mapping/, which says why.
import fs from "node:fs";
import path from "node:path";
import { Usage } from "./client.mjs";

const TEXT_BYTES = 1024 * 1024;
const DEPTH = 64;
const OWN_NOTES = new Set(["builder-debug.yml", "builder-effective-config.yaml"]);
const TAURI = { macos: "darwin", dmg: "darwin", nsis: "win32", msi: "win32", appimage: "linux", deb: "linux", rpm: "linux" };

const ARCHES = {
  x64: "x64", amd64: "x64", arm64: "arm64", aarch64: "arm64", ia32: "ia32", i386: "ia32", i586: "ia32", i686: "ia32",
  x86: "ia32", armv7l: "armv7l", armv7: "armv7l", armhf: "armv7l", universal: "universal",
};
const SYSTEMS = {
  dmg: "darwin", pkg: "darwin", exe: "win32", msi: "win32", msix: "win32", appx: "win32", appxbundle: "win32",
  nupkg: "win32", appimage: "linux", deb: "linux", rpm: "linux", snap: "linux", flatpak: "linux", pacman: "linux",
};
const ARCHIVES = new Set(["zip", "7z", "gz", "xz", "bz2", "zst"]);
const SYSTEM_WORDS = {
  mac: "darwin", macos: "darwin", darwin: "darwin", osx: "darwin", win: "win32", win32: "win32", win64: "win32",
  windows: "win32", nsis: "win32", msi: "win32", linux: "linux", appimage: "linux",
};

// ASCII only, as file names are compared on every system alike.
const lower = text => text.replace(/[A-Z]/g, letter => letter.toLowerCase());
const words = name => lower(name).replaceAll("x86_64", "x64").replaceAll("x86-64", "x64").split(/[^a-z0-9]/);
const first = (table, name) => table[words(name).find(word => Object.hasOwn(table, word))];
const own = (table, key) => (Object.hasOwn(table, key) ? table[key] : undefined);

export const arch = name => first(ARCHES, name);

export function os(name) {
  const text = lower(name);
  if (text.endsWith(".app.tar.gz")) return "darwin";
  if (!text.includes(".")) return undefined;
  const extension = text.slice(text.lastIndexOf(".") + 1);
  return ARCHIVES.has(extension) ? first(SYSTEM_WORDS, name) : own(SYSTEMS, extension);
}

export const machine = () => ({ os: process.platform, arch: process.arch === "arm" ? "armv7l" : process.arch });

const isArtefact = name =>
  os(name) !== undefined || /\.(zip|7z|tar\.gz|tar\.xz|tar\.bz2|tar\.zst)$/.test(lower(name));
const ownerOf = name => name.replace(/\.(blockmap|sig|asc)$/, "");
const baseOf = name => name.slice(name.lastIndexOf("/") + 1);

/** Why a path would be refused, if it would. */
function refusal(name) {
  if (Buffer.byteLength(name) > 1024) return "it is too long";
  if (/[\\\u0000-\u001f\u007f-\u009f\ufffe\uffff]/.test(name)) return "it has a character that no path may have";
  const segments = name.split("/");
  if (segments.some(segment => ["", ".", ".."].includes(segment))) return "it has an empty segment, or dots for one";
  if (segments.some(segment => Buffer.byteLength(segment) > 255)) return "a segment is too long";
  if (segments[0].toLowerCase() === ".seance") return "it is reserved";
  return undefined;
}

class Placed {
  files = new Map();
  skipped = [];

  put(file, directory, name) {
    this.putAt(file, `releases/${directory}/${name}`);
  }

  putAt(file, target) {
    const normal = target.normalize("NFC");
    const why = refusal(normal);
    if (why) throw new Usage(`${file.name} cannot be published as ${normal}: ${why}`);
    const before = this.files.get(normal);
    if (before) throw new Usage(`both ${before.name} and ${file.name} would be ${normal}`);
    this.files.set(normal, file);
  }

  skip(file) {
    this.skipped.push(file.name);
  }
}

/** Maps the output directory of electron-builder or Tauri. */
export function build(directory, platform) {
  if (platform !== undefined && (platform.includes("/") || refusal(platform))) {
    throw new Usage(`${platform} is not a platform: it becomes one directory below releases/`);
  }
  const found = listed(directory);
  const read = name => {
    const file = path.join(directory, name);
    try {
      return fs.statSync(file).size <= TEXT_BYTES ? fs.readFileSync(file, "utf8") : undefined;
    } catch {
      return undefined; // One that cannot be read is found out when it is hashed.
    }
  };
  return found.some(file => tauriKind(file.name)) ? tauri(found, platform, triple(directory), read) : electron(found, platform, read);
}

/** Maps a static site: everything below `directory` but hidden files, which are never served. */
export function site(directory) {
  const placed = new Placed();
  const pending = [[directory, "", 0]];
  while (pending.length) {
    const [at, prefix, depth] = pending.pop();
    if (depth > DEPTH) throw new Usage(`${directory} has more than ${DEPTH} directories within each other`);
    for (const entry of entries(at)) {
      const name = prefix + entry.name;
      if (entry.name.startsWith(".") && entry.name !== ".well-known") placed.skipped.push(name);
      else if (entry.kind === "file") placed.putAt({ ...entry, name }, `web/${name}`);
      else if (entry.kind === "directory" && !entry.link) pending.push([entry.path, `${name}/`, depth + 1]);
      else placed.skipped.push(name);
    }
  }
  return placed;
}

function entries(directory) {
  return fs
    .readdirSync(directory, { withFileTypes: true })
    .map(entry => {
      const file = path.join(directory, entry.name);
      const stat = fs.statSync(file);
      const kind = stat.isFile() ? "file" : stat.isDirectory() ? "directory" : "other";
      return { name: entry.name, path: file, size: stat.size, kind, link: entry.isSymbolicLink() };
    })
    .sort((one, other) => Buffer.compare(Buffer.from(one.name), Buffer.from(other.name)));
}

function listed(directory) {
  const visible = entries(directory).filter(entry => !entry.name.startsWith("."));
  const below = visible
    .filter(entry => entry.kind === "directory" && !entry.name.endsWith("-unpacked"))
    .flatMap(parent =>
      entries(parent.path)
        .filter(entry => entry.kind === "file" && !entry.name.startsWith("."))
        .map(entry => ({ ...entry, name: `${parent.name}/${entry.name}` })),
    );
  return [...visible.filter(entry => entry.kind === "file"), ...below];
}

function electron(found, platform, read) {
  const placed = new Placed();
  const channels = new Map();
  for (const { name } of found) {
    if (!name.endsWith(".yml") || name.includes("/") || OWN_NOTES.has(name)) continue;
    const read_ = channel(name, read(name) ?? "", platform);
    if (read_) channels.set(name, read_);
  }
  for (const file of found) {
    const own = channels.get(file.name);
    if (own) {
      placed.put(file, own.directory, file.name);
      continue;
    }
    const owner = ownerOf(file.name);
    const naming = [...channels.values()].filter(({ names }) => names.has(file.name.normalize("NFC")) || names.has(owner.normalize("NFC")));
    const directories = new Set(naming.map(({ directory }) => directory));
    for (const directory of directories) placed.put(file, directory, file.name);
    if (directories.size === 0) alone(placed, file, owner, platform);
  }
  return placed;
}

function channel(name, text, platform) {
  const known = name.startsWith("latest") || name.endsWith("-mac.yml") || name.includes("-linux") || ["alpha.yml", "beta.yml"].includes(name);
  const outline = /^version:/m.test(text) && /^(files|path):/m.test(text);
  if (!known && !outline) return undefined;
  const urls = [...text.matchAll(/^(?:path|\s*-?\s*url):[ \t]*(.+?)[ \t]*$/gm)].map(match => unquoted(match[1]));
  const names = new Set(urls.map(resolved).filter(url => url !== undefined));
  const stem = name.slice(0, -".yml".length);
  const system = stem.endsWith("-mac") ? "darwin" : stem.includes("-linux") ? "linux" : "win32";
  const arches = new Set(arch(stem) ? [arch(stem)] : [...names].map(named => arch(named) ?? "x64"));
  const directory = platform ?? (arches.size > 1 ? system : `${system}-${[...arches][0] ?? "x64"}`);
  return { directory, names };
}

function unquoted(text) {
  if (text.startsWith("'")) return text.slice(1, text.lastIndexOf("'")).replaceAll("''", "'");
  if (!text.startsWith('"')) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The file that a URL means beside its manifest. */
function resolved(url) {
  if (url.includes("://") || url.startsWith("//")) return undefined;
  const plain = url.split(/[?#]/)[0];
  const segments = [];
  let decoded = plain;
  try {
    decoded = decodeURIComponent(plain);
  } catch {
    // Not percent-encoded: the name has a percent sign.
  }
  for (const segment of decoded.split("/")) {
    if (segment === "..") return undefined;
    if (segment !== "" && segment !== ".") segments.push(segment);
  }
  return segments.join("/").normalize("NFC");
}

function alone(placed, file, owner, platform) {
  const { name } = file;
  if (name === "version.json" || name === "latest.json") return placed.putAt(file, `releases/${name}`);
  const directory = name.includes("/") ? name.slice(0, name.lastIndexOf("/")) : "";
  const base = baseOf(name);
  const squirrel = directory.startsWith("squirrel-windows");
  const system = directory === "" ? os(owner) : squirrel ? "win32" : undefined;
  const processor = arch(directory === "" ? owner : directory) ?? "x64";
  const releases = base.startsWith("RELEASES");
  const known = platform !== undefined ? directory === "" || squirrel : system !== undefined || (releases && directory === "");
  if (!known || base.includes("__uninstaller") || !(releases || isArtefact(baseOf(owner)))) return placed.skip(file);
  placed.put(file, platform ?? `${system ?? "win32"}-${processor}`, base);
}

function tauriKind(name) {
  const [directory, base, ...deeper] = name.split("/");
  const system = own(TAURI, directory);
  return system && base && !deeper.length && isArtefact(ownerOf(base)) ? { system, base } : undefined;
}

function tauri(found, platform, target, read) {
  const placed = new Placed();
  const built = system => {
    const beside = found.filter(file => tauriKind(file.name)?.system === system);
    return beside.map(file => arch(file.name)).find(Boolean) ?? arch(target) ?? machine().arch;
  };
  for (const file of found) {
    const kind = tauriKind(file.name);
    if (!kind) {
      if (file.name === "latest.json" || file.name === "version.json") placed.putAt(file, `releases/${file.name}`);
      else placed.skip(file);
      continue;
    }
    const owner = ownerOf(kind.base);
    const processor = arch(owner) ?? built(kind.system);
    let name = kind.base;
    if (owner.endsWith(".app.tar.gz") && !/[0-9]/.test(owner)) {
      const app = owner.slice(0, -".app.tar.gz".length);
      const version = bundleVersion(read(`macos/${app}.app/Contents/Info.plist`)) ?? dmgVersion(found, app);
      const suffix = processor === "arm64" ? "aarch64" : processor;
      if (version) name = kind.base.replace(owner, () => `${app}_${version}_${suffix}.app.tar.gz`);
    }
    placed.put(file, platform ?? `${kind.system}-${processor}`, name);
  }
  return placed;
}

const bundleVersion = plist =>
  plist?.match(/<key>CFBundleShortVersionString<\/key>\s*<string>([A-Za-z0-9.+-]+)<\/string>/)?.[1];

function dmgVersion(found, app) {
  const prefix = `dmg/${app}_`;
  const dmg = found.find(file => file.name.startsWith(prefix));
  const rest = dmg?.name.slice(prefix.length);
  return rest?.includes("_") ? rest.split("_")[0] : undefined;
}

function triple(directory) {
  const above = path.basename(path.dirname(path.dirname(fs.realpathSync(directory))));
  return above.split("-").length > 2 ? above : "";
}
