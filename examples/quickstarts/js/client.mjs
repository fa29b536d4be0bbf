// The client of quickstart.mjs.
import { text } from 'node:stream/consumers'
import { B24OAuth, B24PullClientManager as PullClient } from '@bitrix24/b24jssdk'
import { XMLHttpRequest } from './xhr.mjs'

// The client is made for browsers: it asks the page whether there are websockets
// and whether it was loaded by https, and polls by XMLHttpRequest.
globalThis.window = { WebSocket, addEventListener () {}, removeEventListener () {} }
globalThis.document = { location: { href: 'https://application.example/' } }
globalThis.XMLHttpRequest = XMLHttpRequest
if (process.argv.includes('--polls')) delete window.WebSocket

// Whatever else an error holds may be a secret.
process.on('uncaughtException', error => {
  console.error(error?.message ?? error?.ex?.error ?? 'it fails')
  process.exit(1)
})

const { control: address, portals: [it] } = JSON.parse(await text(process.stdin))

async function control (action, params) {
  const answer = await fetch(`${address}/v1/portals/${it.name}/${action}`, {
    method: params ? 'POST' : 'GET',
    headers: { 'Content-Type': 'application/json' },
    body: params && JSON.stringify(params)
  })
  if (!answer.ok) throw new Error(`${action}: ${answer.status}`)
  return answer.json()
}

const b24 = new B24OAuth({
  accessToken: it.access_token,
  refreshToken: '-',
  expires: Math.floor(Date.now() / 1000) + 3600,
  expiresIn: 3600,
  domain: it.url.replace('https://', ''),
  clientEndpoint: it.url + '/rest/',
  serverEndpoint: it.auth_url + '/rest/',
  memberId: it.member_id,
  applicationToken: it.application_token,
  userId: 1,
  scope: it.scopes.join(','),
  status: 'L'
}, { clientId: it.client_id, clientSecret: it.client_secret })
b24.offClientSideWarning()

const pull = new PullClient({ b24, restApplication: it.client_id, userId: 1, skipStorageInit: true })
const heard = []
let hears = () => {}
pull.subscribe({
  moduleId: 'application',
  callback: event => {
    heard.push(event)
    hears()
  }
})

async function hear () {
  while (heard.length === 0) await new Promise(resolve => { hears = resolve })
  const { command, params } = heard.shift()
  console.log(`${command}: ${params.text}`)
}

await pull.start()
console.log('version', pull.getServerVersion())
await control('emit', { command: 'greeting', params: { text: 'hello' } })
await hear()
while ((await control('cut', {})).connections === 0) {} // it is between two polls
console.log('cut')
await control('emit', { command: 'greeting', params: { text: 'hello again' } })
await hear()
const { websockets, polls } = await control('stats')
console.log(websockets > 0 ? 'by websocket' : polls > 0 ? 'by polls' : 'by nothing')
pull.destroy()
