// The official JS client of Bitrix24, led by a Go test: each line of stdin is a
// command, each line of stdout what became of it or an event.
import { createInterface } from 'node:readline'
import { Request } from './request.mjs'
import { B24OAuth, B24PullClientManager as PullClient } from '@bitrix24/b24jssdk'

// The client asks a browser for its websockets and requests, and for https by
// the address of the page.
globalThis.window = { WebSocket, addEventListener() {}, removeEventListener() {} }
globalThis.XMLHttpRequest = Request
globalThis.document = { location: { href: 'https://application.example/' } }
// It leaves rejected promises to nobody where it publishes by protobuf.
process.on('unhandledRejection', error => tell({ event: 'trouble', error: words(error) }))

const tell = line => process.stdout.write(JSON.stringify(line) + '\n')
const words = error => String(error?.message ?? error?.ex?.error ?? error)
const pause = ms => new Promise(done => setTimeout(done, ms))

let pull
let connections = 0
let channels = {} // public channels of users, as "id.signature"

// watchConnections tells what the client asks of a push server, and what comes,
// before the client looks at it.
function watchConnections () {
  const asked = (transport, address) => {
    const { searchParams: q } = new URL(address)
    tell({ event: 'asked', transport, position: { mid: q.get('mid'), tag: q.get('tag'), time: q.get('time') } })
    return ++connections
  }
  const heard = (connection, data) => {
    if (data !== 'ping') tell({ event: 'frame', connection, messages: messagesOf(data) })
  }
  globalThis.WebSocket = class extends WebSocket {
    constructor (address) {
      super(address)
      const connection = asked('websocket', address)
      this.addEventListener('message', ({ data }) => heard(connection, data))
    }
  }
  if (window.WebSocket) window.WebSocket = WebSocket
  globalThis.XMLHttpRequest = class extends Request {
    #connection

    constructor () {
      super()
      this.addEventListener('readystatechange', () => {
        if (this.#connection && this.readyState === 4 && this.status === 200) heard(this.#connection, this.response)
      })
    }

    open (method, address) {
      this.#connection = method === 'GET' && asked('poll', address)
      super.open(method, address)
    }
  }
}

// messagesOf are those of a frame, or of a poll's answer.
function messagesOf (data) {
  if (!pull.isJsonRpc()) {
    return pull.extractMessages(data).map(({ mid, tag, time, text }) => ({ mid, tag, time, command: text.command, params: text.params }))
  }
  return [JSON.parse(data)].flat().filter(call => call.method === 'incoming.message')
    .map(({ params: { mid, body } }) => ({ mid, command: body.command, params: body.params }))
}

const commands = {
  // start connects the client of a user of the application.
  async start ({ portal, token, member, user, users, polling, watched }) {
    if (polling) delete window.WebSocket
    if (watched) watchConnections()
    const b24 = new B24OAuth({
      accessToken: token, refreshToken: '-', expires: Math.floor(Date.now() / 1000) + 3600, expiresIn: 3600,
      domain: portal.replace('https://', ''), clientEndpoint: portal + '/rest/', serverEndpoint: portal + '/rest/',
      memberId: member, applicationToken: '', userId: user, scope: 'pull,pull_channel', status: 'L'
    }, { clientId: 'application', clientSecret: '-' })
    b24.offClientSideWarning()
    pull = new PullClient({ b24, restApplication: 'application', userId: user, skipStorageInit: true })
    pull.subscribe({ type: 'client', moduleId: 'application', callback: ({ command, params, extra }) =>
      tell({ event: 'message', command, params, sender: extra.sender.type }) })
    pull.subscribe({ type: 'server', moduleId: 'application', callback: ({ command, params, extra }) =>
      tell({ event: 'event', command, params, sender: extra.sender?.type }) })
    await pull.start()
    const version = pull.getServerVersion()
    if (version === 4) {
      // What it would ask for itself are the channels of the portal's pages.
      const list = await b24.actions.v2.call.make({ method: 'pull.channel.public.list', params: { USERS: users, APPLICATION: 'Y' } })
      for (const [id, c] of Object.entries(list.getData().result)) {
        channels[id] = `${c.public_id}.${c.signature}`
      }
    }
    return { version }
  },

  // publish waits for a connection. On version 4 nothing answers.
  async publish ({ users, command, params, expiry }) {
    while (!pull.isConnected()) await pause(10)
    return { result: await send(users, command, params, expiry) ?? null }
  },

  // lastSeen is of those whom the push server does not know: of others the
  // client forgets what it was answered.
  async lastSeen ({ users }) {
    return { result: await pull.getUsersLastSeen(users) }
  },

  async watch ({ users }) {
    for (const user of users) {
      await pull.subscribeUserStatusChange(user, ({ userId, isOnline }) => tell({ event: 'status', user: Number(userId), online: isOnline }))
    }
    return {}
  },

  async channels () {
    return { result: await pull.listChannels() }
  },

  // flood publishes batches of messages, so many batches at once. The client
  // itself waits for answers to single messages on version 5 alone.
  async flood ({ users, count, batch, atOnce, expiry }) {
    const body = { module_id: 'application', command: 'tick', params: { n: 1 } }
    const to = pull.isJsonRpc() ? { userList: users } : { channelList: users.map(u => channels[u]) }
    const messages = Array.from({ length: batch }, () => ({ ...to, body, expiry }))
    let left = count
    const worker = async () => {
      while (left > 0) {
        left -= batch
        if (batch === 1) await send(users, 'tick', { n: 1 }, expiry)
        else await pull.sendMessageBatch(messages)
        await Request.fewer(atOnce)
      }
    }
    await Promise.all(Array.from({ length: atOnce }, worker))
    await Request.fewer(1)
    return {}
  }
}

const send = (users, command, params, expiry) => pull.isJsonRpc()
  ? pull.sendMessage(users, 'application', command, params, expiry)
  : pull.sendMessageToChannels(users.map(u => channels[u]), 'application', command, params, expiry)

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: name, ...args } = JSON.parse(line)
  commands[name](args).then(
    done => tell({ event: 'done', id, ...done }),
    error => tell({ event: 'done', id, error: words(error) })
  )
}
pull?.destroy()
process.exit(0)
