// Builds of a make-believe app, laid out as electron-builder lays them out. Two versions
// differ in every second block, so that a differential update has many ranges.
"use strict";
const crypto = require("node:crypto");
const zlib = require("node:zlib");

const BLOCK = 2048;
const BLOCKS = 2100;

const random = (seed, length) =>
  crypto.createCipheriv("aes-128-ctr", crypto.createHash("md5").update(seed).digest(), Buffer.alloc(16)).update(Buffer.alloc(length));
const sha512 = bytes => crypto.createHash("sha512").update(bytes).digest("base64");

function artifact(kind, version) {
  const bytes = random(kind, BLOCK * BLOCKS);
  const own = random(kind + version, BLOCK * BLOCKS);
  for (let at = 0; at < bytes.length; at += 2 * BLOCK) own.copy(bytes, at, at, at + BLOCK);
  return bytes;
}

// Block map format 2 of app-builder: equal checksums mean equal blocks.
function blockmap(bytes) {
  const checksums = [];
  for (let at = 0; at < bytes.length; at += BLOCK) {
    checksums.push(crypto.createHash("sha512").update(bytes.subarray(at, at + BLOCK)).digest().subarray(0, 18).toString("base64"));
  }
  return JSON.stringify({ version: "2", files: [{ name: "file", offset: 0, checksums, sizes: checksums.map(() => BLOCK) }] });
}

function manifest(version, files) {
  const lines = [`version: ${version}`, "files:"];
  for (const { name, bytes, blockMapSize } of files) {
    lines.push(`  - url: ${name}`, `    sha512: ${sha512(bytes)}`, `    size: ${bytes.length}`);
    if (blockMapSize) lines.push(`    blockMapSize: ${blockMapSize}`);
  }
  lines.push(`path: ${files[0].name}`, `sha512: ${sha512(files[0].bytes)}`, "releaseDate: '2026-11-21T00:00:00.000Z'", "");
  return Buffer.from(lines.join("\n"));
}

const builds = {
  darwin(version) {
    const zip = { name: `Seance-${version}-arm64-mac.zip`, bytes: artifact("zip", version) };
    const dmg = { name: `Seance-${version}-arm64.dmg`, bytes: random(`dmg${version}`, 64 * 1024) };
    return {
      directory: "releases/darwin-arm64",
      artifact: zip,
      files: [
        zip,
        dmg,
        { name: `${zip.name}.blockmap`, bytes: zlib.gzipSync(blockmap(zip.bytes)) },
        { name: "latest-mac.yml", bytes: manifest(version, [zip, dmg]) },
      ],
    };
  },
  // electron-builder's default name of a Windows installer has spaces.
  win32(version) {
    const exe = { name: `Seance Setup ${version}.exe`, bytes: artifact("exe", version) };
    return {
      directory: "releases/win32-x64",
      artifact: exe,
      files: [
        exe,
        { name: `${exe.name}.blockmap`, bytes: zlib.gzipSync(blockmap(exe.bytes)) },
        { name: "latest.yml", bytes: manifest(version, [exe]) },
      ],
    };
  },
  // An AppImage carries its block map at its end, followed by the map's length.
  linux(version) {
    const payload = artifact("AppImage", version);
    const map = zlib.deflateRawSync(blockmap(payload));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(map.length);
    const image = { name: `Seance-${version}.AppImage`, bytes: Buffer.concat([payload, map, length]), blockMapSize: map.length };
    return {
      directory: "releases/linux-x64",
      artifact: image,
      files: [image, { name: "latest-linux.yml", bytes: manifest(version, [image]) }],
    };
  },
};

// { directory, artifact: { name, bytes }, files: [{ name, bytes }] } of "darwin", "win32" or "linux".
exports.build = (platform, version) => builds[platform](version);
