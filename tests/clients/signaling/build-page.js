// node build-page.js FILE: bundles the browser build of y-webrtc and the page into one HTML file.

import { writeFileSync } from 'node:fs'
import { build } from 'esbuild'

const bundle = await build({
  entryPoints: [new URL('page.js', import.meta.url).pathname],
  bundle: true,
  write: false,
  format: 'iife',
  platform: 'browser',
  define: { global: 'globalThis' },
})
const script = bundle.outputFiles[0].text.replaceAll('</script', '<\\/script')
writeFileSync(process.argv[2], `<!doctype html><meta charset="utf-8"><script>${script}</script>`)
