package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// maxLinks is how many links a way leads through at the most.
const maxLinks = 64

// CheckFolder refuses a folder that anybody may write, or have put in the place
// of another: what is in it may be anybody's. It looks at all folders that lead
// to it, also those that links lead through:
//
//   - The folder itself is not writable by everybody. With volume it may be the
//     top of a file system that has no sticky bit: containers have their volumes
//     mounted so.
//   - A folder on the way that everybody may write has a sticky bit, and what
//     the way goes on with in it is the user's own or the system's; or it is
//     the top of a file system.
//   - A link on the way stands where not everybody may write.
//
// Of what is not there it looks at where it would be made. Modes say nothing on Windows.
func CheckFolder(folder string, volume bool) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	if !filepath.IsAbs(folder) {
		here, err := os.Getwd()
		if err != nil {
			return err
		}
		folder = here + "/" + folder // not cleaned: .. leads out of what a link leads to
	}
	w := way{at: "/", rest: strings.Split(folder, "/")}
	for len(w.rest) > 0 {
		if err := w.step(); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
	}
	info, err := os.Stat(w.at)
	if err != nil || !writableByAll(info.Mode()) || volume && info.Mode()&fs.ModeSticky == 0 && mounted(w.at) {
		return err
	}
	why := "everybody may write it; take one that only you may (chmod 700)"
	if !w.replaceable(info) {
		why += ", or a new one in it"
	}
	return refuse(folder, why)
}

// A way leads to a folder.
type way struct {
	at    string // a path without links
	rest  []string
	links int
}

// step goes on to what is next on the way.
func (w *way) step() error {
	name := w.rest[0]
	w.rest = w.rest[1:]
	if name == "" || name == "." {
		return nil
	}
	if name == ".." {
		w.at = filepath.Dir(w.at)
		return nil
	}
	next := filepath.Join(w.at, name)
	parent, err := os.Lstat(w.at)
	if err != nil {
		return err
	}
	info, err := os.Lstat(next)
	if errors.Is(err, fs.ErrNotExist) && w.replaceable(parent) {
		return w.refuse(next)
	}
	if err != nil {
		return err
	}
	link := info.Mode()&fs.ModeSymlink != 0
	if writableByAll(parent.Mode()) {
		if err := w.shared(next, parent, info, link); err != nil {
			return err
		}
	}
	if !link {
		w.at = next
		return nil
	}
	if w.links++; w.links > maxLinks {
		return refuse(next, "too many links")
	}
	to, err := os.Readlink(next)
	if err != nil {
		return err
	}
	if filepath.IsAbs(to) {
		w.at = "/"
	}
	w.rest = append(strings.Split(to, "/"), w.rest...)
	return nil
}

// shared checks what is next in a folder that everybody may write.
func (w *way) shared(next string, parent, info fs.FileInfo, link bool) error {
	switch {
	case link:
		return refuse(next, linkByAnybody)
	case mounted(next): // nobody but the system replaces that
		return nil
	case w.replaceable(parent):
		return w.refuse(next)
	case parent.Mode()&fs.ModeSticky != 0 && !trusted(info, parent):
		return refuse(next, "another user has made it, in a folder that everybody may write; take one of your own")
	}
	return nil
}

// replaceable reports whether everybody may replace what is in the folder that
// the way has come to.
func (w *way) replaceable(at fs.FileInfo) bool {
	return writableByAll(at.Mode()) && at.Mode()&fs.ModeSticky == 0 && !mounted(w.at)
}

func (w *way) refuse(next string) error {
	return refuse(w.at, "everybody may write it, and replace "+filepath.Base(next)+" in it; set its sticky bit (chmod +t), have only its owner write it (chmod 755), or take a folder elsewhere")
}

const linkByAnybody = "is a link in a folder that everybody may write; take one that only you may, or give the path that the link leads to"

func refuse(path, why string) error {
	return &fs.PathError{Op: "open", Path: path, Err: errors.New(why)}
}
