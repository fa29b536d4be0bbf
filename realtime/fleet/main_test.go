package fleet

import (
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	resttest.AtOnce(8)
	goleak.VerifyTestMain(m)
}
