package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"strconv"
)

// A file that is written in place is a row of records, each beginning at a
// multiple of blockSize. A record has a number, the length of its content, and
// a checksum over all three. The newest one that is whole counts. The next one
// is written before it if there is room, else behind it, never over it, and is
// synced before the write after that begins: at any moment one of the two is
// whole, the new one or the one before. So a file has at most three times the
// size of its longest record. When the content is removed, its records are
// wiped out once that is on the disk. A file that was replaced so far begins
// with its content, which counts until a record does.
//
// That holds as long as a disk leaves alone what is not written. A file system
// that cannot rename is not asked for more.
const blockSize = 4096

// maxSize bounds what is read: a file of ours is some kilobytes.
const maxSize = 64 << 20

const recordMark = "\x00record "

// recordHead is as long as every head is: the mark, the number, the length, the
// checksum.
const recordHead = len(recordMark) + 16 + 1 + 8 + 1 + 8 + 1

// record is one in a file. The zero record is none.
type record struct {
	at, end int // its place; the end is a multiple of blockSize
	number  uint64
	content []byte
}

func (r record) sum() uint32 {
	head := fmt.Appendf(nil, "%016x %08x ", r.number, len(r.content))
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(head, table), table, r.content)
}

func (r record) bytes() []byte {
	b := fmt.Appendf(nil, "%s%016x %08x %08x\n", recordMark, r.number, len(r.content), r.sum())
	return append(append(b, r.content...), '\n')
}

// newest finds the record that counts.
func newest(data []byte) (last record, ok bool) {
	for at := 0; at < len(data); at += blockSize {
		if r, whole := recordAt(data, at); whole && (!ok || r.number > last.number) {
			last, ok = r, true
		}
	}
	return last, ok
}

func recordAt(data []byte, at int) (record, bool) {
	rest, marked := bytes.CutPrefix(data[at:], []byte(recordMark))
	if !marked || len(data[at:]) < recordHead {
		return record{}, false
	}
	var fields [3]uint64
	for i, field := range bytes.SplitN(rest[:recordHead-len(recordMark)-1], []byte(" "), 3) {
		n, err := strconv.ParseUint(string(field), 16, 64)
		if err != nil {
			return record{}, false
		}
		fields[i] = n
	}
	rest = data[at+recordHead:]
	if fields[1] > uint64(len(rest)) {
		return record{}, false
	}
	length := int(fields[1])
	r := record{at: at, end: roundUp(at + recordHead + length + 1), number: fields[0], content: rest[:length]}
	return r, uint64(r.sum()) == fields[2]
}

// beforeRecords is what a file that was replaced so far begins with.
func beforeRecords(data []byte) []byte {
	plain, _, _ := bytes.Cut(data, []byte{0})
	return plain
}

func roundUp(n int) int { return (n + blockSize - 1) / blockSize * blockSize }

func (f *File) writeInPlace(path string, content []byte) error {
	data, err := f.system().ReadFile(path)
	if err != nil {
		return err
	}
	last, ok := newest(data)
	if !ok {
		// the first block stays as it is, also where it is empty: it says what
		// there was
		last.end = max(blockSize, roundUp(len(beforeRecords(data))))
	}
	next := record{at: last.end, number: last.number + 1, content: content}
	written := next.bytes()
	if len(written) <= last.at {
		next.at = 0
	}
	file, err := f.system().OpenWrite(path)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(written, int64(next.at))
	if err == nil {
		err = file.Sync()
	}
	if err == nil && len(content) == 0 {
		err = wipe(file, next.at, next.at+len(written), len(data))
	}
	return errors.Join(err, file.Close())
}

// wipe leaves nothing of a file but what is from one place to another: what was
// removed may have been a secret.
func wipe(file diskFile, from, to, size int) error {
	_, err := file.WriteAt(make([]byte, from), 0)
	if err == nil && size > to {
		_, err = file.WriteAt(make([]byte, size-to), int64(to))
	}
	return errors.Join(err, file.Sync())
}

func readAll(f *os.File) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = &fs.PathError{Op: "read", Path: f.Name(), Err: fmt.Errorf("has more than %d bytes", maxSize)}
	}
	return data, err
}
