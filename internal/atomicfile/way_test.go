//go:build unix

package atomicfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree makes folders and links in a new one: a mode and a path, or «from -> to».
func tree(t *testing.T, what ...string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(root)
	for _, w := range what {
		mode, path, _ := strings.Cut(w, " ")
		modes := map[string]os.FileMode{"700": 0o700, "755": 0o755, "770": 0o770, "777": 0o777, "1777": 0o777 | os.ModeSticky, "2775": 0o775 | os.ModeSetgid, "2777": 0o777 | os.ModeSetgid}
		var err error
		if from, to, link := strings.Cut(path, " -> "); link {
			err = os.Symlink(strings.ReplaceAll(to, "ROOT", root), from)
		} else if err = os.Mkdir(path, 0o700); err == nil {
			err = os.Chmod(path, modes[mode])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestWay_CheckFolder: which folders another user can have made, or replace.
func TestWay_CheckFolder(t *testing.T) {
	const open, above, link = "everybody may write it; take", "everybody may write it, and replace", "is a link in a folder that everybody may write"
	tests := []struct {
		name   string
		tree   []string
		folder string
		where  string // the path in the error
		says   string // nothing: it is taken
	}{
		{"one's own", []string{"700 a"}, "a", "", ""},
		{"one that is not there", []string{"700 a"}, "a/b/c", "", ""},
		{"a group's", []string{"2775 a", "770 a/b"}, "a/b", "", ""},
		{"everybody's", []string{"777 a"}, "a", "a", open},
		{"everybody's, of a group", []string{"2777 a"}, "a", "a", open},
		{"everybody's, sticky", []string{"1777 a"}, "a", "a", open},
		{"in everybody's", []string{"777 a", "700 a/b"}, "a/b", "a", above},
		{"far below everybody's", []string{"777 a", "755 a/b", "700 a/b/c"}, "a/b/c", "a", above},
		{"in a sticky one", []string{"1777 a", "700 a/b"}, "a/b", "", ""},
		{"a new one in everybody's", []string{"777 a"}, "a/b/c", "a", above},
		{"a new one in a sticky one", []string{"1777 a"}, "a/b", "", ""},
		{"a link", []string{"700 a", "- b -> a"}, "b", "", ""},
		{"a link, absolute", []string{"700 a", "- b -> ROOT/a"}, "b", "", ""},
		{"a link above", []string{"755 a", "700 a/c", "- b -> a"}, "b/c", "", ""},
		{"links like those of a volume of Kubernetes", []string{"755 v", "755 v/..2026", "700 v/..2026/a", "- v/..data -> ..2026", "- v/a -> ..data/a"}, "v/a", "", ""},
		{"a link to everybody's", []string{"777 a", "- b -> a"}, "b", "b", open},
		{"a link into everybody's", []string{"777 a", "700 a/c", "- b -> a/c"}, "b", "a", above},
		{"a link in everybody's", []string{"777 a", "700 c", "- a/b -> ../c"}, "a/b", "a/b", link},
		{"a link in a sticky one", []string{"1777 a", "700 c", "- a/b -> ../c"}, "a/b", "a/b", link},
		{"a link in everybody's, above", []string{"777 a", "755 c", "700 c/d", "- a/b -> ROOT/c"}, "a/b/d", "a/b", link},
		{"a link by way of another", []string{"777 a", "700 c", "- a/b -> ../c", "- d -> a/b"}, "d", "a/b", link},
		{"out of a link's", []string{"755 a", "777 a/b", "700 a/b/c", "700 d", "- l -> a/b/c"}, "l/../../../d", "a/b", above},
		{"a link that leads to itself", []string{"- a -> a"}, "a", "a", "too many links"},
		{"a link that leads nowhere", []string{"- a -> b"}, "a", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := tree(t, tt.tree...)
			for _, folder := range []string{tt.folder, root + "/" + tt.folder, "./" + tt.folder + "/", tt.folder + "//."} {
				for _, volume := range []bool{false, true} {
					err := CheckFolder(folder, volume)
					if tt.says == "" && err != nil {
						t.Errorf("%s: %v", folder, err)
					}
					if tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), filepath.Join("/", tt.where))) {
						t.Errorf("%s: %v", folder, err)
					}
				}
			}
		})
	}
}

// TestWay_MakeFolderWhere: a new folder is not left where it may be replaced.
func TestWay_MakeFolderWhere(t *testing.T) {
	tree(t, "777 a", "1777 s", "700 d", "- l -> d")
	if err := MakeFolder("a/b/c"); err == nil || !strings.Contains(err.Error(), "sticky") {
		t.Errorf("in everybody's: %v", err)
	}
	if files, err := os.ReadDir("a"); err != nil || len(files) != 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	for _, folder := range []string{"s/b", "d/b", "l/c"} {
		for range 2 {
			if err := MakeFolder(folder); err != nil {
				t.Errorf("%s: %v", folder, err)
			}
		}
	}
}

// TestWay_SquattedFolder: whoever comes first to a folder like /tmp has made what is
// there.
func TestWay_SquattedFolder(t *testing.T) {
	root := tree(t, "1777 a", "755 a/b", "755 a/b/c")
	if err := os.Chown("a/b", 54321, 54321); err != nil {
		t.Skip(err)
	}
	for _, folder := range []string{"a/b", "a/b/c"} {
		if err := CheckFolder(folder, true); err == nil || !strings.Contains(err.Error(), root+"/a/b: another user") {
			t.Errorf("%s: %v", folder, err)
		}
	}
}
