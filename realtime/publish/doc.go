// Package publish publishes to other clients of a push server.
package publish
