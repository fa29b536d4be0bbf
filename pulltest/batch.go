package pulltest

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// maxBatch is how many commands a batch may have.
const maxBatch = 50

var (
	errBatchLength = &restError{http.StatusBadRequest, "ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded"}
	errBatchMethod = &restError{http.StatusMethodNotAllowed, "ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage"}
)

// batchPart is what a batch has of one kind, by the keys of its commands.
type batchPart struct {
	keys   []string
	values map[string]any
}

func (p *batchPart) set(key string, value any) {
	if p.values == nil {
		p.values = make(map[string]any)
	}
	p.keys, p.values[key] = append(p.keys, key), value
}

// MarshalJSON writes an array of PHP: a list where the keys count from 0.
func (p batchPart) MarshalJSON() ([]byte, error) { return json.Marshal(phpValues(p.keys, p.values)) }

// batchResult is the result of batch.
type batchResult struct {
	Result batchPart `json:"result"`
	Error  batchPart `json:"result_error"`
	Total  batchPart `json:"result_total"`
	Next   batchPart `json:"result_next"`
	Time   batchPart `json:"result_time"`
}

// batch carries out the commands of CMD, «method?query» each, in their order, and
// with HALT none behind one that fails. Events are sent behind all of them.
func (p *Portal) batch(call restCall) (any, *restError) {
	var b batchResult
	pending := &events{known: make(map[string]*event)}
	for i, c := range commandsOf(call) {
		err := errBatchLength
		if i < maxBatch {
			err = p.runCommand(&b, call, c, pending)
		}
		if err == nil {
			continue
		}
		b.Error.set(c.key, map[string]string{"error": err.code, "error_description": err.description})
		if phpTrue(call.params["HALT"]) {
			break
		}
	}
	for _, e := range pending.list {
		p.sendOrDrop(*e)
	}
	return b, nil
}

// batchCommand is a command of a batch, and under which key.
type batchCommand struct {
	key, text string
}

// commandsOf are the commands of a call, but for those that are no text.
func commandsOf(call restCall) (list []batchCommand) {
	switch commands := call.params["CMD"].(type) {
	case []any:
		for i, c := range commands {
			if text, ok := c.(string); ok {
				list = append(list, batchCommand{strconv.Itoa(i), text})
			}
		}
	case map[string]any:
		for _, key := range call.order {
			if text, ok := commands[key].(string); ok {
				list = append(list, batchCommand{key, text})
			}
		}
	}
	return list
}

func (p *Portal) runCommand(b *batchResult, call restCall, c batchCommand, pending *events) *restError {
	name, query, _ := strings.Cut(c.text, "?")
	if name = strings.ToLower(name); name == methodBatch {
		return errBatchMethod
	}
	form := newPHPMap()
	form.parse(query)
	params, _ := form.params()
	for name, value := range params {
		params[name] = b.substitute(value)
	}
	start := p.opts.clock.now()
	result, used, err := p.run(restCall{ctx: call.ctx, webhook: call.webhook, user: call.user, params: params, events: pending}, name)
	if err != nil {
		return err
	}
	if paged, ok := result.(page); ok {
		result = paged.result
		paged.tell(func(name string, n int) {
			part := &b.Total
			if name == "next" {
				part = &b.Next
			}
			part.set(c.key, n)
		})
	}
	b.Result.set(c.key, generic(result))
	b.Time.set(c.key, timeOf(start, p.opts.clock.now(), used))
	return nil
}

// generic is a value as JSON has it.
func generic(value any) any {
	data, err := json.Marshal(value)
	if err != nil {
		panic("pulltest: " + err.Error())
	}
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		panic("pulltest: " + err.Error())
	}
	return value
}

var reference = regexp.MustCompile(`^\$(result|error|total|next)((?:\[[^\[\]]*\])+)$`)

// substitute puts what a command before came to in the place of a value like
// $result[key][field]; null if there is no such thing.
func (b *batchResult) substitute(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = b.substitute(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = b.substitute(v[name])
		}
	case string:
		if found := reference.FindStringSubmatch(v); found != nil {
			part := map[string]batchPart{"result": b.Result, "error": b.Error, "total": b.Total, "next": b.Next}[found[1]]
			return follow(part.values, strings.Split(strings.Trim(found[2], "[]"), "]["))
		}
	}
	return value
}

// follow is what a path of keys leads to.
func follow(values map[string]any, path []string) any {
	var at any = values
	for _, key := range path {
		switch v := at.(type) {
		case map[string]any:
			at = v[key]
		case map[string]string: // an error
			at = v[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			at = v[i]
		default:
			return nil
		}
	}
	if n, ok := at.(int); ok {
		return json.Number(strconv.Itoa(n))
	}
	return at
}

// phpTrue reports whether PHP takes a parameter for true.
func phpTrue(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != "" && v != "0"
	case json.Number:
		n, err := v.Float64()
		return err != nil || n != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}
