// Hears the events of a Bitrix24 application by the official JS client.
//
//     npm ci && node quickstart.mjs [--polls] PROGRAM [FLAGS]
//
// PROGRAM is b24pull, which plays the portal: "PROGRAM portal FLAGS" is started,
// and ended. Node takes certificate authorities from the environment when it
// starts, so the client is a process of its own, which is told of the portal by
// its stdin.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const args = process.argv.slice(2)
const client = [args[0] === '--polls' ? args.shift() : '--websocket']
const program = args.shift()
if (!program) {
  console.error('usage: node quickstart.mjs [--polls] PROGRAM [FLAGS]')
  process.exit(2)
}
const portal = spawn(program, ['portal', ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
portal.on('error', (e) => console.error(`cannot start ${program}: ${e.code}`))
try {
  const { value: ready } = await createInterface({ input: portal.stdout })[Symbol.asyncIterator]().next()
  if (!ready) throw 'the portal does not start'
  // Before version 22 Node has websockets by this flag.
  const node = spawn(process.execPath, ['--experimental-websocket', '--no-warnings', fileURLToPath(new URL('client.mjs', import.meta.url)), ...client], {
    stdio: ['pipe', 'inherit', 'inherit'],
    env: { ...process.env, NODE_EXTRA_CA_CERTS: JSON.parse(ready).ca_file }
  })
  node.stdin.end(ready)
  const [status] = await once(node, 'exit')
  process.exitCode = status ?? 1
} catch (e) {
  console.error(e)
  process.exitCode = 1
} finally {
  portal.kill()
}
