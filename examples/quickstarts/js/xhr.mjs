// What the client takes of a browser's XMLHttpRequest.
export class XMLHttpRequest extends EventTarget {
  readyState = 0
  status = 0
  response = null
  responseType = ''
  #method
  #address
  #headers = new Headers()
  #sent // the request under way

  open (method, address) {
    this.#method = method
    this.#address = address
    this.readyState = 1
  }

  async send (body) {
    const sent = this.#sent = new AbortController()
    let status = 0
    let response = null
    let headers = new Headers()
    try {
      const answer = await fetch(this.#address, { method: this.#method, body, signal: sent.signal })
      response = this.responseType === 'arraybuffer' ? await answer.arrayBuffer() : await answer.text()
      status = answer.status
      headers = answer.headers
    } catch {
      // as status 0
    }
    if (this.#sent === sent) this.#end(status, response, headers)
  }

  abort () {
    const sent = this.#sent
    if (!sent) return
    this.#end(0, null, new Headers())
    sent.abort()
  }

  getResponseHeader (name) {
    return this.#headers.get(name)
  }

  #end (status, response, headers) {
    this.#sent = undefined
    this.status = status
    this.response = response
    this.#headers = headers
    this.readyState = 4
    this.dispatchEvent(new Event('readystatechange'))
  }
}
