package realtime

import (
	"encoding/hex"

	"google.golang.org/protobuf/encoding/protowire"
)

// wireMessage is an OutgoingMessage with a body of the command alone.
func wireMessage(epoch, counter uint64, command string, fields ...func([]byte) []byte) []byte {
	id, err := hex.DecodeString(mid{epoch, counter}.String())
	if err != nil {
		panic(err)
	}
	b := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), id)
	b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), `{"command":"`+command+`"}`)
	for _, f := range fields {
		b = f(b)
	}
	return b
}
