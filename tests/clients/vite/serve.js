// node serve.js DIRECTORY: Vite's dev server for the app in it, on a free port, which it prints.
import { createServer } from "vite";

const server = await createServer({
  root: process.argv[2],
  configFile: false,
  logLevel: "silent",
  cacheDir: `${process.argv[2]}/.vite`,
  server: { host: "127.0.0.1", port: 0 },
});
await server.listen();
console.log(server.httpServer.address().port);
