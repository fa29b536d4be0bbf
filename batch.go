package b24pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/b24pull/b24pull/php"
)

// MaxBatch is how many commands a portal takes in one batch.
const MaxBatch = 50

const methodBatch = "batch"

// ErrNotRun is the error of the commands behind the one that a batch with Halt
// has stopped at: the portal has not carried them out.
var ErrNotRun = errors.New("b24pull: not carried out: a command before it in the batch failed")

// Command is one call in a batch.
type Command struct {
	// Method is any method but batch, in lower case.
	Method string
	// Params marshals to a JSON object, as for Call. Here they become a query
	// (filter[>ID]=5&select[0]=ID), since portals take no other form: true and
	// false are 1 and 0 in it, and it has neither null nor what is empty, so
	// these are ErrInvalidFormat unless they are a whole parameter, which is
	// left out then.
	//
	// A text that begins with $result[, like $result[deal][CONTACT_ID], is a
	// reference: the portal puts what an earlier command came to in its place,
	// by that one's Key. So texts of strangers must not begin so.
	Params any
	// Key names the command in references: letters, digits, _ and -. By default
	// it is the command's number, from 0 on.
	Key string
}

// BatchResult is what came of a command.
type BatchResult struct {
	// Key and Method are those of the command.
	Key, Method string
	// Response has the command's own time, and of a list method total and next.
	Response
	// Result is the command's result as it came, nil with an Err.
	Result json.RawMessage
	// Err is an *APIError, as if the method had been called by itself: ClassOf
	// tells what it means for calling again. Or it is ErrNotRun.
	Err error

	clean func(error) error
}

// Decode decodes the result into v, as Call does. It returns Err if there is
// one.
func (r BatchResult) Decode(v any) error {
	if r.Err != nil {
		return r.Err
	}
	if err := json.Unmarshal(r.Result, v); err != nil {
		if r.clean != nil {
			err = r.clean(err)
		}
		return fmt.Errorf("b24pull: %s: the result: %w", r.Method, err)
	}
	return nil
}

// BatchOption changes one Batch: Halt or Idempotent.
type BatchOption interface{ batch(*batch) }

func (o CallOption) batch(b *batch) { o(&b.request) }

type haltOption struct{}

func (haltOption) batch(b *batch) { b.halt = true }

// Halt has the portal stop at the first command that fails. The commands behind
// it have ErrNotRun.
func Halt() BatchOption { return haltOption{} }

// Batch makes up to 50 calls at once (method batch), in their order, and
// returns what came of each, in that order too. An error is one of the whole,
// and then nothing is known of the commands; a command that fails has its error
// in its result, which Decode returns as well.
//
// A batch is one call to the Limiter, as it is to the portal's bucket, and is
// repeated as one, as Call is: with Idempotent also where it may have been
// carried out. A single command is never repeated. The time of its method is
// counted as in any call: a command whose method is paused is not sent, but has
// the portal's error, and commands refer to it in vain.
//
// More than MaxBatch commands are an error, since references and Halt reach no
// further than one batch; slices.Chunk divides a longer list. The newer REST
// (/rest/api/) has batches of another form; there Batch is an error.
func (c *Client) Batch(ctx context.Context, commands []Command, opts ...BatchOption) ([]BatchResult, error) {
	b := batch{commands: commands, results: make([]BatchResult, len(commands))}
	for _, option := range opts {
		if option == nil {
			return nil, errors.New("b24pull: Batch: an option is nil")
		}
		option.batch(&b)
	}
	if err := b.prepare(); err != nil {
		return nil, fmt.Errorf("b24pull: Batch: %w", err)
	}
	if c.newer() {
		return nil, errors.New("b24pull: Batch: the newer REST (/rest/api/) has batches of another form: use the address without /api")
	}
	if c != nil && c.pauses != nil {
		b.leaveOut(c.pauses)
	}
	if b.params = b.sent(); b.params == nil {
		return b.results, nil
	}
	b.method = methodBatch
	b.take = func(a response) error { return b.read(c, a) }
	if err := c.call(ctx, b.request); err != nil {
		return nil, err
	}
	return b.results, nil
}

// A batch is one on its way.
type batch struct {
	request
	commands []Command
	halt     bool
	texts    []string // the commands as they are sent
	results  []BatchResult
}

var keyForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// prepare checks the commands and writes them.
func (b *batch) prepare() error {
	if len(b.commands) == 0 || len(b.commands) > MaxBatch {
		return fmt.Errorf("want 1 to %d commands, got %d; slices.Chunk divides a longer list", MaxBatch, len(b.commands))
	}
	keys := make(map[string]int, len(b.commands))
	for i, command := range b.commands {
		if command.Key == "" {
			command.Key = strconv.Itoa(i)
		}
		text, err := command.text()
		if first, twice := keys[command.Key]; err == nil && twice {
			err = fmt.Errorf("it has the key of command %d", first)
		}
		if err != nil {
			return fmt.Errorf("command %d: %w", i, err)
		}
		keys[command.Key] = i
		b.texts = append(b.texts, text)
		b.results[i] = BatchResult{Key: command.Key, Method: command.Method}
	}
	return nil
}

// text is the command as a portal wants it, «method?query».
func (command Command) text() (string, error) {
	if err := checkMethod(command.Method); err != nil {
		return "", err
	}
	if command.Method == methodBatch {
		return "", errors.New("a batch has no batch in it")
	}
	if !keyForm.MatchString(command.Key) {
		return "", errors.New("want a Key of up to 64 letters, digits, _ and -")
	}
	query, err := phpQuery(command.Params)
	if err != nil {
		return "", fmt.Errorf("%s: the parameters: %w", command.Method, err)
	}
	if query == "" {
		return command.Method, nil
	}
	return command.Method + "?" + query, nil
}

// leaveOut gives the commands whose methods are paused the portal's error.
func (b *batch) leaveOut(paused *pauses) {
	for i := range b.results {
		if b.stopped(i) {
			b.results[i].Err = ErrNotRun
			continue
		}
		_, b.results[i].Err = paused.left(b.results[i].Method)
	}
}

// stopped reports whether a command stands behind one that failed and halted
// the batch.
func (b *batch) stopped(i int) bool {
	return b.halt && i > 0 && b.results[i-1].Err != nil
}

// sent are the parameters of the call: the commands in their order, which PHP
// keeps. Nil if there is none to be sent.
func (b *batch) sent() map[string]any {
	object := []byte{'{'}
	for i, r := range b.results {
		if r.Err != nil {
			continue
		}
		if len(object) > 1 {
			object = append(object, ',')
		}
		text, _ := json.Marshal(b.texts[i])
		object = append(strconv.AppendQuote(object, r.Key), ':')
		object = append(object, text...)
	}
	if len(object) == 1 {
		return nil
	}
	halt := 0
	if b.halt {
		halt = 1
	}
	return map[string]any{"halt": halt, "cmd": json.RawMessage(append(object, '}'))}
}

// batchParts are the answer's, each by the commands' keys.
type batchParts struct {
	Result php.Map[string, json.RawMessage] `json:"result"`
	Error  php.Map[string, json.RawMessage] `json:"result_error"`
	Total  php.Map[string, json.RawMessage] `json:"result_total"`
	Next   php.Map[string, json.RawMessage] `json:"result_next"`
	Time   php.Map[string, json.RawMessage] `json:"result_time"`
}

// read takes the answer apart.
func (b *batch) read(c *Client, a response) error {
	var parts batchParts
	if err := json.Unmarshal(a.raw, &parts); err != nil {
		return a.fail("want an object with result and result_error by the commands' keys; it cannot be read")
	}
	for i := range b.results {
		r := &b.results[i]
		switch {
		case r.Err != nil: // it was not sent
		case b.stopped(i) && parts.Result[r.Key] == nil && parts.Error[r.Key] == nil:
			r.Err = ErrNotRun
		default:
			b.readOne(c, a, parts, r)
		}
	}
	return nil
}

// readOne reads what came of one command, as if it were an answer of its own.
func (b *batch) readOne(c *Client, a response, parts batchParts, r *BatchResult) {
	own := response{method: r.Method, status: a.status, redactor: a.redactor, received: a.received, took: a.took}
	beside := map[string]json.RawMessage{"total": parts.Total[r.Key], "next": parts.Next[r.Key], "time": parts.Time[r.Key]}
	for name, value := range beside {
		if value == nil {
			delete(beside, name)
		}
	}
	own.body, _ = json.Marshal(beside)
	r.Response, r.clean = own.beside(), a.redactor.Error
	result, has := parts.Result[r.Key]
	code, failed := parts.Error[r.Key]
	switch {
	case failed && !(has && blank(code)):
		r.Err = own.refusal(code, nil)
	case has:
		r.Result = result
	default:
		r.Err = own.fail("the batch's answer has neither a result nor an error for the command " + r.Key)
	}
	if errors.Is(r.Err, ErrQueryLimit) {
		c.limiter.full()
	}
	c.pauses.note(r.Method, own, r.Err)
}
