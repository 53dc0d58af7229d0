// A collaborator in a browser: page.html#ROOM,NAME,SIGNALING-URL. Answers `question` in the shared map.

import { WebrtcProvider } from 'y-webrtc'
import * as Y from 'yjs'

const [room, name, url] = location.hash.slice(1).split(',')
const doc = new Y.Doc()
const map = doc.getMap('shared')
map.observe(() => {
  const question = map.get('question')
  if (question && map.get('answer') !== question) map.set('answer', question)
})
new WebrtcProvider(room, doc, { signaling: [url], peerOpts: { config: { iceServers: [] } } })
map.set(name, navigator.userAgent)
