package wire

import (
	"encoding/json"
	"fmt"
)

// maxMerged is how many members objects may have that are merged: of each a
// table is kept, which takes many times the few bytes of JSON that a member can
// have.
const maxMerged = 1 << 14

// mergeObjects returns params with the members of the others, where these are
// objects, each over what is before it. No params, or an empty array, are an
// empty object. It returns nil where params are to stay as they are: none of
// the others is an object, or params are a value that can have no members.
func mergeObjects(params json.RawMessage, others ...[]byte) (json.RawMessage, error) {
	if len(params) == 0 || IsEmptyArray(params) {
		params = json.RawMessage("{}")
	}
	if !isObject(params) {
		return nil, nil
	}
	objects := [][]byte{params}
	for _, o := range others {
		if isObject(o) {
			objects = append(objects, o)
		}
	}
	if len(objects) == 1 {
		return nil, nil
	}
	m := merger{place: make(map[string]int)}
	size := len("{}")
	for _, o := range objects {
		size += len(o)
		for of := membersOf(o, 0, 1); of.next() && of.skip(); {
			m.add(of.name, of.value())
		}
		if m.members > maxMerged {
			return nil, fmt.Errorf("its params, user_params and dictionary have more than %d members", maxMerged)
		}
	}
	return m.merged(size), nil
}

func isObject(value []byte) bool { return len(value) > 0 && value[0] == '{' }

// merger gathers the members of objects, each in the place of the first of its
// name.
type merger struct {
	members int // of all objects
	list    []member
	place   map[string]int // in the list, by name
}

// member is one of an object, its name quoted.
type member struct{ name, value []byte }

func (m *merger) add(name, value []byte) {
	if m.members++; m.members > maxMerged {
		return
	}
	key := unquote(name)
	if i, ok := m.place[string(key)]; ok {
		m.list[i].value = value
		return
	}
	m.place[string(key)] = len(m.list)
	m.list = append(m.list, member{name, value})
}

// merged is the object of all members, which has no more than size bytes.
func (m *merger) merged(size int) json.RawMessage {
	merged := append(make([]byte, 0, size), '{')
	for i, m := range m.list {
		if i > 0 {
			merged = append(merged, ',')
		}
		merged = append(merged, m.name...)
		merged = append(merged, ':')
		merged = append(merged, m.value...)
	}
	return append(merged, '}')
}
