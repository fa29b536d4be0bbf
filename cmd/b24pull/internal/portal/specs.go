package portal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/b24pull/b24pull/cmd/b24pull/internal/portal/control"
)

// specs are the portals to start. What is wrong with the flags, it says before
// anything begins.
func (o *options) specs() ([]control.Spec, error) {
	if err := o.readFlags(); err != nil {
		return nil, err
	}
	specs := []control.Spec{o.spec}
	var err error
	switch {
	case o.file != "":
		specs, err = o.fromFile()
	case len(o.several) > 0:
		specs, err = o.fromFlags()
	}
	if err == nil {
		err = o.together(specs)
	}
	return specs, err
}

// readFlags reads what flags say, and checks it.
func (o *options) readFlags() error {
	if o.processes != "" {
		subscribers, publishers, _ := strings.Cut(o.processes, ",")
		n := new(control.Processes)
		var err, failed error
		n.Subscribers, err = strconv.Atoi(subscribers)
		n.Publishers, failed = strconv.Atoi(publishers)
		if err != nil || failed != nil {
			return fmt.Errorf("-processes: want two numbers such as 2,2, not %q", o.processes)
		}
		o.spec.Processes = n
	}
	if err := o.readFiles(); err != nil {
		return err
	}
	common := o.spec
	if o.file != "" {
		common.PlainURLs = false // each may say where they lead
	}
	switch {
	case common.PlainURLs && common.PlainAddress == "":
		return fmt.Errorf("-http-urls needs -http host:port, which says where they lead")
	case (o.certFile == "") != (o.keyFile == ""):
		return fmt.Errorf("-cert and -cert-key go together")
	case o.certFile != "" && o.caFile != "":
		return fmt.Errorf("-ca-file is for certificates made up here: leave it out with -cert")
	case o.file != "" && len(o.several) > 0:
		return fmt.Errorf("give -portals or -portal, not both")
	case len(o.several) > 0 && o.given["name"]:
		return fmt.Errorf("-name is for one portal: -portal names each")
	}
	if err := common.Check(); err != nil {
		return ofFlag(err)
	}
	if err := control.CheckAddress(o.control); err != nil {
		return fmt.Errorf("-control: %w", err)
	}
	for _, host := range o.hosts {
		if !control.IsHost(host) {
			return fmt.Errorf("-control-host: want names, without scheme and port, with commas between them, not %q", host)
		}
	}
	if o.certFile != "" {
		own, err := ownCertificate(o.certFile, o.keyFile)
		if err != nil {
			return err
		}
		o.own = &own
	}
	return nil
}

// flagNames are the flags that have another name than their field.
var flagNames = map[string]string{
	"plain_address": "http",
	"plain_urls":    "http-urls",
	"scopes":        "scope",
}

// ofFlag is the error of a field with the name of the flag it comes from.
func ofFlag(err error) error {
	e := new(control.Error)
	if !errors.As(err, &e) || e.Field == "" {
		return err
	}
	field, _, _ := strings.Cut(e.Field, ".")
	field, _, _ = strings.Cut(field, "[")
	name := flagNames[field]
	if name == "" {
		name = strings.ReplaceAll(field, "_", "-")
	}
	text := e.Message
	if e.Field == field {
		text = strings.TrimPrefix(text, field+": ")
	}
	return fmt.Errorf("-%s: %s", name, text)
}

// readFiles reads what is too long for a flag.
func (o *options) readFiles() error {
	for _, from := range []struct {
		flag, value string
	}{{"users", o.users}, {"answers", o.answers}} {
		if from.value == "" {
			continue
		}
		data, err := jsonOrFile(from.value)
		if err == nil {
			err = control.CheckJSON(data)
		}
		if err != nil {
			return fmt.Errorf("-%s: %w", from.flag, err)
		}
		if err := control.Decode(fmt.Appendf(nil, "{%q:%s,\"name\":\"x\"}", from.flag, data), &o.spec); err != nil {
			return ofFlag(err)
		}
	}
	return nil
}

// fromFile are the portals of -portals.
func (o *options) fromFile() ([]control.Spec, error) {
	data, err := jsonOrFile(o.file)
	if err == nil {
		err = control.CheckJSON(data)
	}
	if err != nil {
		return nil, fmt.Errorf("-portals: %w", err)
	}
	var list []json.RawMessage
	if json.Unmarshal(data, &list) != nil {
		return nil, fmt.Errorf("-portals: want a list of objects, such as [{\"name\":\"a\"},{\"name\":\"b\"}]")
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("-portals: the list is empty")
	}
	var specs []control.Spec
	nameUsed := false
	for i, one := range list {
		spec := o.spec
		err := control.Decode(one, &spec)
		if err == nil {
			err = spec.Check()
		}
		if err != nil {
			return nil, fmt.Errorf("-portals: portal %d: %w", i+1, err)
		}
		nameUsed = nameUsed || spec.Name == o.spec.Name
		specs = append(specs, spec)
	}
	if o.given["name"] && !nameUsed {
		return nil, fmt.Errorf("-name is for a portal that has no name of its own, and all of -portals have one")
	}
	return specs, nil
}

// fromFlags are the portals of -portal.
func (o *options) fromFlags() ([]control.Spec, error) {
	var specs []control.Spec
	for _, text := range o.several {
		spec := o.spec
		parts := strings.SplitN(text, ":", 3)
		spec.Name = parts[0]
		if len(parts) > 1 {
			if err := (*version)(&spec.Version).Set(parts[1]); err != nil {
				return nil, fmt.Errorf("-portal %q: want name:version:host:port, with a version from 1 to 5, not %q", text, parts[1])
			}
		}
		if len(parts) > 2 {
			spec.Address = parts[2]
		}
		if err := spec.Check(); err != nil {
			return nil, fmt.Errorf("-portal %q: %w", text, err)
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// together is what is wrong with several portals, each of which is right.
func (o *options) together(specs []control.Spec) error {
	if len(specs) > control.MostPortals {
		return fmt.Errorf("%d portals; give no more than %d", len(specs), control.MostPortals)
	}
	names := make(map[string]bool)
	taken := map[string]string{o.control: "-control"}
	for _, spec := range specs {
		if names[spec.Name] {
			return fmt.Errorf("there are two portals %q; give each its own name", spec.Name)
		}
		names[spec.Name] = true
		for _, addr := range []struct{ flag, value, common, own string }{
			{"address", spec.Address, o.spec.Address, "-portal " + spec.Name + ":4:host:port"},
			{"http", spec.PlainAddress, o.spec.PlainAddress, "plain_address in -portals"},
		} {
			_, port, _ := net.SplitHostPort(addr.value)
			n, _ := strconv.Atoi(port)
			by := taken[addr.value]
			switch {
			case addr.value == "" || n == 0: // a free one
			case by == "":
				taken[addr.value] = addr.flag + " of " + spec.Name
			case addr.value == addr.common && len(names) > 1 && by != "-control":
				return fmt.Errorf("-%s is for one portal; give each its own: %s", addr.flag, addr.own)
			default:
				return fmt.Errorf("-%s: %s is that of %s already", addr.flag, addr.value, by)
			}
		}
	}
	return nil
}

// jsonOrFile reads a file, if what it is given is not JSON itself.
func jsonOrFile(text string) ([]byte, error) {
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		return []byte(text), nil
	}
	data, err := os.ReadFile(text)
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), err
}
