// The official JS client of Bitrix24 before a firehose: SPEC is a consumer's
// specification, the last line of stdout what was measured.
import { B24OAuth, B24PullClientManager as PullClient } from '@bitrix24/b24jssdk'

const { At: at, Messages: messages, Config: config } = JSON.parse(process.env.SPEC)

// The client asks a browser for its websockets, and for https by the address of
// the page.
globalThis.window = { WebSocket, addEventListener() {}, removeEventListener() {} }
globalThis.document = { location: { href: 'http://application.example/' } }

const b24 = new B24OAuth({
  accessToken: '-', refreshToken: '-', expires: Math.floor(Date.now() / 1000) + 3600, expiresIn: 3600,
  domain: 'portal.example', clientEndpoint: 'https://portal.example/rest/', serverEndpoint: 'https://portal.example/rest/',
  memberId: '-', applicationToken: '', userId: 1, scope: 'pull', status: 'L'
}, { clientId: '-', clientSecret: '-' })
b24.offClientSideWarning()
const pull = new PullClient({ b24, restApplication: 'application', userId: 1, skipStorageInit: true, skipCheckRevision: true })
pull.loadConfig = async () => config // there is no portal to ask

let handled = 0
let begun
pull.subscribe({
  type: 'server',
  moduleId: 'application',
  callback: () => {
    if (++handled < messages) return
    const seconds = (performance.now() - begun) / 1000
    process.stdout.write('\n' + JSON.stringify({ Messages: handled, Seconds: seconds }) + '\n', () => process.exit(0))
  }
})
await pull.start({ ...config })
while (!pull.isConnected()) await new Promise(done => setTimeout(done, 10))
begun = performance.now()
await fetch(at.URL + '/go', { method: 'POST' })
setTimeout(() => process.exit(1), 120_000)
