// One collaborator in a process of its own: y-webrtc joins peers of one process without any server.
//
//   node peer.js ROOM NAME PASSWORD SIGNALING-URL…
//
// Writes NAME into the shared map, and prints the map as a line of JSON whenever it changes. A line
// KEY=VALUE on standard input is written into the map; the end of input ends the peer.

import readline from 'node:readline'
import wrtc from '@roamhq/wrtc'
import { WebSocket } from 'ws'
import { WebrtcProvider } from 'y-webrtc'
import * as Y from 'yjs'

const [room, name, password, ...signaling] = process.argv.slice(2)
globalThis.WebSocket = WebSocket
// A message sealed with another password rejects a promise inside y-webrtc; browsers report that and go on.
process.on('unhandledRejection', (error) => console.error(error))

const doc = new Y.Doc()
const map = doc.getMap('shared')
const print = () => console.log(JSON.stringify(map.toJSON()))
map.observe(print)

const provider = new WebrtcProvider(room, doc, {
  signaling,
  password: password || null,
  maxConns: 50,
  peerOpts: { wrtc, config: { iceServers: [] } },
})
map.set(name, 'here')

const lines = readline.createInterface({ input: process.stdin })
lines.on('line', (line) => map.set(...line.split('=', 2)))
lines.on('close', () => {
  provider.destroy()
  process.exit(0)
})
