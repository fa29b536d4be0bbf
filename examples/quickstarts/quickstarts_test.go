// Package quickstarts runs the quick starts in other languages against the
// portal of cmd/b24pull.
package quickstarts

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "b24pull")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		flag.Set("test.parallel", "4") // most of the time they wait
		program = filepath.Join(dir, "b24pull")
		if runtime.GOOS == "windows" {
			program += ".exe"
		}
		build := exec.Command("go", "build", "-ldflags=-s", "-o", program, "../../cmd/b24pull")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as its own tests build it, and from the same cache
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s\n%v\n", out, err)
			return 1
		}
		return m.Run()
	}())
}

// A language is one that quick starts are in.
type language struct {
	variable string // in the environment: must be there, then
	find     func() (command []string, err error)
}

var (
	php = language{"B24PULL_PHP", func() ([]string, error) {
		if exec.Command("php", "-r", "exit(function_exists('curl_multi_init') ? 0 : 1);").Run() != nil {
			return nil, errors.New("the quick start in PHP takes php with the extension curl (Debian: php-cli, php-curl), which is not here")
		}
		return []string{"php", "php/quickstart.php"}, nil
	}}
	python = language{"B24PULL_PYTHON", func() ([]string, error) {
		for _, name := range []string{"python3", "/usr/bin/python3"} {
			if exec.Command(name, "-c", "import requests").Run() == nil {
				return []string{name, "python/quickstart.py"}, nil
			}
		}
		return nil, errors.New("the quick start in Python takes python3 with requests (Debian: python3-requests), which is not here")
	}}
	js = language{"B24PULL_NODE", func() ([]string, error) {
		if _, err := exec.LookPath("node"); err != nil {
			return nil, errors.New("the quick start in JS takes Node, which is not here")
		}
		if _, err := os.Stat("js/node_modules/@bitrix24/b24jssdk"); err != nil {
			return nil, errors.New("the official JS client is not installed: npm ci in examples/quickstarts/js")
		}
		return []string{"node", "js/quickstart.mjs"}, nil
	}}
)

// command is the quick start's; without its language the test is skipped, or
// fails if the variable is set.
func (l language) command(t *testing.T) []string {
	t.Helper()
	command, err := l.find()
	if err != nil {
		if os.Getenv(l.variable) != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return command
}

// languages are all, or the first that is here where tests are to be short: none
// of the programs is under the race detector.
func languages() map[string]language {
	all := map[string]language{"PHP": php, "Python": python, "JS": js}
	if testing.Short() {
		for _, name := range []string{"PHP", "JS", "Python"} {
			if _, err := all[name].find(); err == nil {
				return map[string]language{name: all[name]}
			}
		}
	}
	return all
}

// seed makes known channel ids, which nobody may print.
const seed = "quick"

// run runs a quick start with its own options and the portal's flags to its end,
// and checks that it tells no secret.
func run(t *testing.T, command, options, flags []string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args := slices.Concat(command[1:], options, []string{program, "-seed", seed}, flags)
	cmd := exec.CommandContext(ctx, command[0], args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = environment()
	err = cmd.Run()
	text := out.String() + said.String()
	for _, secret := range []string{pulltest.SecretMark, fmt.Sprintf("%x", md5.Sum([]byte(seed)))} {
		if strings.Contains(text, secret) {
			t.Fatal("a secret is printed")
		}
	}
	return strings.ReplaceAll(out.String(), "\r\n", "\n"), said.String(), err
}

// TestQuickstarts: each hears an event, is cut, and hears the next, which is
// emitted while it is away.
func TestQuickstarts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		language language
		options  []string
		flags    []string
		end      string
	}{
		{"PHP", php, nil, nil, ""},
		{"PHP in wide holes", php, nil, []string{"-hostile"}, ""},
		{"Python", python, nil, nil, ""},
		{"Python in wide holes", python, nil, []string{"-hostile"}, ""},
		{"JS by websocket", js, nil, nil, "by websocket\n"},
		{"JS by polls", js, []string{"--polls"}, nil, "by polls\n"},
	} {
		for version := 3; version <= 5; version++ {
			if testing.Short() && version != 4 {
				continue
			}
			t.Run(fmt.Sprintf("%s, version %d", tt.name, version), func(t *testing.T) {
				resttest.Sample(t)
				t.Parallel()
				stdout, stderr, err := run(t, tt.language.command(t), tt.options, slices.Concat(tt.flags, []string{"-version", fmt.Sprint(version)}))
				want := fmt.Sprintf("version %d\ngreeting: hello\ncut\ngreeting: hello again\n", version) + tt.end
				if err != nil || stdout != want {
					t.Errorf("%v; printed %q, not %q\n%s", err, stdout, want, stderr)
				}
			})
		}
	}
}

// TestQuickstarts_Fail: what cannot be done ends with words and a status.
func TestQuickstarts_Fail(t *testing.T) {
	t.Parallel()
	for name, l := range languages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, tt := range []struct{ flag, value, words, js string }{
				{"-version", "9", "the portal does not start", "the portal does not start"},
				{"-version", "2", "mids begin with version 3", ""}, // the client has a rule for it
				{"-scope", "im", "insufficient_scope", "higher privileges"},
			} {
				words := tt.words
				if name == "JS" {
					words = tt.js
				}
				if words == "" {
					continue
				}
				stdout, stderr, err := run(t, l.command(t), nil, []string{tt.flag, tt.value})
				if err == nil || stdout != "" || !strings.Contains(stderr, words) {
					t.Errorf("%s %s: %v; printed %q\n%s", tt.flag, tt.value, err, stdout, stderr)
				}
				if name != "JS" || tt.flag == "-version" { // the client prints what it likes
					alone(t, stderr)
				}
			}
		})
	}
}

// TestQuickstarts_NoProgram: without the program there is a sentence that names
// it.
func TestQuickstarts_NoProgram(t *testing.T) {
	t.Parallel()
	for name, l := range languages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := l.command(t)
			cmd := exec.CommandContext(t.Context(), command[0], append(command[1:], "./nosuch-program")...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			cmd.WaitDelay = 5 * time.Second
			if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), "cannot start ./nosuch-program") {
				t.Errorf("%v; %s", err, &stderr)
			}
			alone(t, stderr.String())
		})
	}
}

// alone reports what a language prints of where a program has failed.
func alone(t *testing.T, stderr string) {
	t.Helper()
	for _, mark := range []string{"Traceback", "Stack trace", "#0", "Fatal error", "Warning", "    at "} {
		if strings.Contains(stderr, mark) {
			t.Errorf("more than a sentence is said: %s", stderr)
			return
		}
	}
}

// environment has nobody go to the portal by a proxy.
func environment() []string {
	return append(os.Environ(), "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")
}
