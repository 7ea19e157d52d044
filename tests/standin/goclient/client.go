// Package goclient names the client whose own tests are run against the stand-in.
package goclient

import _ "github.com/fastly/go-fastly/v12/fastly"
