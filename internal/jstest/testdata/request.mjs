// What the official JS client takes of a browser's XMLHttpRequest.
import { Agent, request } from 'node:https'

const agent = new Agent({ keepAlive: true, maxSockets: 32 })

export class Request extends EventTarget {
  static #posting = 0
  static #waiting = []

  readyState = 0
  status = 0
  response = null
  responseType = ''
  #method
  #address
  #headers = {}
  #sent

  // fewer waits until fewer requests than n publish.
  static async fewer (n) {
    while (Request.#posting >= n) await new Promise(done => Request.#waiting.push(done))
  }

  open (method, address) {
    this.#method = method
    this.#address = address
    this.readyState = 1
  }

  send (body) {
    const posts = this.#method === 'POST'
    if (posts) Request.#posting++
    const end = (status, response) => {
      if (this.readyState === 4) return
      if (posts) Request.#posting--
      for (const done of Request.#waiting.splice(0)) done()
      this.status = status
      this.response = response
      this.readyState = 4
      this.dispatchEvent(new Event('readystatechange'))
    }
    this.#sent = request(this.#address, { method: this.#method, agent }, answer => {
      const parts = []
      this.#headers = answer.headers
      answer.on('data', part => parts.push(part))
      answer.on('error', () => end(0, null))
      answer.on('end', () => {
        const all = Buffer.concat(parts)
        end(answer.statusCode, this.responseType === 'arraybuffer' ? new Uint8Array(all).buffer : all.toString())
      })
    })
    this.#sent.on('error', () => end(0, null))
    this.#sent.end(body)
  }

  abort () {
    this.#sent?.destroy()
  }

  getResponseHeader (name) {
    return this.#headers[name.toLowerCase()] ?? null
  }
}
