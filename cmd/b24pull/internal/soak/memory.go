package soak

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// memory samples how much of it a process occupies.
type memory struct {
	mu       sync.Mutex
	pid      int
	max, now int64 // bytes; 0: not known, as where there is no /proc
}

// watch changes to another process.
func (m *memory) watch(pid int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pid = pid
}

// sample samples until stop is closed.
func (m *memory) sample(stop <-chan struct{}) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-stop:
			return
		}
		m.mu.Lock()
		if resident := residentSize(m.pid); resident > 0 {
			m.now, m.max = resident, max(m.max, resident)
		}
		m.mu.Unlock()
	}
}

// String is the verdict.
func (m *memory) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("memory max %d MiB, at rest %d MiB", m.max>>20, m.now>>20)
}

func (m *memory) known() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.max > 0
}

const (
	// heapLimit is what a consumer's GOMEMLIMIT is.
	heapLimit = 64 << 20
	// flatLimit is what it may occupy: that, and its program.
	flatLimit = heapLimit + 16<<20
)

// flat reports whether the process has kept to its limit.
func (m *memory) flat() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.max <= flatLimit
}

// residentSize is a process's resident memory in bytes; 0 if it cannot be found
// out.
func residentSize(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(status, []byte("\nVmRSS:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	number := bytes.TrimSpace(bytes.TrimSuffix(line, []byte("kB")))
	kib, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}
