package atomicfile

import (
	"os"
	"path/filepath"
	"strings"
)

// mounted reports whether something is mounted at just this path. The kernel's
// table writes white space and backslashes as \ooo (proc_pid_mountinfo(5)).
func mounted(path string) bool {
	path, err := filepath.Abs(path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	table, tableErr := os.ReadFile("/proc/self/mountinfo")
	if err != nil || tableErr != nil {
		return false
	}
	path = strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace(path)
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == path {
			return true
		}
	}
	return false
}
