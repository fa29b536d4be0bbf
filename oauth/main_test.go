package oauth

import (
	"fmt"
	"os"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := child(); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	resttest.AtOnce(16)
	goleak.VerifyTestMain(m)
}
