package demo

import "strings"

// Output takes what an example prints, for its test.
type Output struct {
	strings.Builder
	Enough func(text string) bool // reports whether the example can end
	End    func()                 // has it end
}

// Write never fails.
func (o *Output) Write(p []byte) (int, error) {
	n, err := o.Builder.Write(p)
	if o.Enough(o.String()) {
		o.End()
	}
	return n, err
}
