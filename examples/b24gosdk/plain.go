package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
)

// plainSDK stands in for the official SDK, so that the program runs without it:
// a REST client of its own that knows nothing of b24pull.
type plainSDK struct {
	portal string // https://portal.bitrix24.com
	http   *http.Client
	tokens interface {
		AccessToken() (string, error)
		Renew(ctx context.Context, refused string) (string, error)
	}
}

// plainError is the portal's refusal.
type plainError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (e *plainError) Error() string     { return e.Code + ": " + e.Description }
func (e *plainError) ErrorCode() string { return e.Code }

// Call implements SDK.
func (s *plainSDK) Call(ctx context.Context, method string, params map[string]any) (json.RawMessage, error) {
	token, err := s.tokens.AccessToken()
	if err != nil {
		return nil, err
	}
	result, err := s.post(ctx, method, params, token)
	var refused *plainError
	if errors.As(err, &refused) && refused.Code == "expired_token" {
		if token, err = s.tokens.Renew(ctx, token); err != nil {
			return nil, err
		}
		result, err = s.post(ctx, method, params, token)
	}
	return result, err
}

func (s *plainSDK) post(ctx context.Context, method string, params map[string]any, token string) (json.RawMessage, error) {
	body := maps.Clone(params)
	if body == nil {
		body = make(map[string]any)
	}
	body["auth"] = token
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.portal+"/rest/"+method, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Result json.RawMessage `json:"result"`
		plainError
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 8<<20)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	if answer.Code != "" {
		return nil, &answer.plainError
	}
	return answer.Result, nil
}
