package control

import (
	_ "embed"
	"net/http"
	"reflect"
)

//go:embed openapi.json
var openAPI []byte

// route is a path of the API.
type route struct {
	method, path string
	does         string
	in, out      reflect.Type
	status       int    // of success
	media        string // of the answer; "": JSON
	serve        http.HandlerFunc
}

const ofPortal = "/v1/portals/{name}"

// routes are all that the API has.
func (s *Server) routes() []route {
	none := reflect.TypeFor[nothing]()
	all := []route{
		{"GET", "/openapi.json", "This description.", none, none, 200, "", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write(openAPI)
		}},
		{"GET", "/v1/ca.pem", "The authority that has signed the portals' certificates.", none, none, 200, "application/x-pem-file", s.serveAuthority},
		{"GET", "/v1/portals", "The portals, in the order of their beginning.", none, reflect.TypeFor[[]Info](), 200, "", func(w http.ResponseWriter, r *http.Request) {
			writeJSON(w, http.StatusOK, s.portals.List())
		}},
		{"POST", "/v1/portals", "Starts one more portal.", reflect.TypeFor[Spec](), reflect.TypeFor[Info](), 201, "", s.startPortal},
		{"GET", ofPortal, "One portal.", none, reflect.TypeFor[Info](), 200, "", s.ofPortal(func(w http.ResponseWriter, r *http.Request, p *running) error {
			writeJSON(w, http.StatusOK, p.info())
			return nil
		})},
		{"DELETE", ofPortal, "Ends a portal.", none, none, 200, "", func(w http.ResponseWriter, r *http.Request) {
			if err := s.portals.Stop(r.PathValue("name")); err != nil {
				writeError(w, err)
				return
			}
			writeJSON(w, http.StatusOK, nothing{})
		}},
	}
	all = append(all, route{"GET", ofPortal + "/events", "What happens, as server-sent events from now on, or behind the number in Last-Event-ID or after. The data of each is an event as in log. An event named lost says that some are missing.",
		reflect.TypeFor[from](), none, 200, "text/event-stream", s.ofPortal(s.stream)})
	for i, r := range all {
		if r.in == none {
			all[i].serve = takesNothing(r.serve)
		}
	}
	for _, e := range endpoints() {
		all = append(all, route{e.method, ofPortal + "/" + e.name, e.does, e.in, e.out, 200, "", s.ofPortal(
			func(w http.ResponseWriter, r *http.Request, p *running) error {
				body, err := input(r)
				if err != nil {
					return err
				}
				result, err := e.run(r.Context(), p, body)
				if err == nil {
					writeJSON(w, http.StatusOK, result)
				}
				return err
			})})
	}
	return all
}

// takesNothing refuses a request that gives what would be without effect.
func takesNothing(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := nothingGiven(r); err != nil {
			writeError(w, err)
			return
		}
		serve(w, r)
	}
}

// ofPortal serves what is about the portal that the path names.
func (s *Server) ofPortal(serve func(http.ResponseWriter, *http.Request, *running) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := s.portals.get(r.PathValue("name"))
		if err == nil {
			err = serve(w, r, p)
		}
		if err != nil {
			writeError(w, err)
		}
	}
}

func (s *Server) startPortal(w http.ResponseWriter, r *http.Request) {
	body, err := input(r)
	var spec Spec
	if err == nil {
		err = Decode(body, &spec)
	}
	var info Info
	if err == nil {
		info, err = s.portals.Start(spec)
	}
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusCreated, info)
}

func (s *Server) serveAuthority(w http.ResponseWriter, _ *http.Request) {
	if s.portals.authority == nil {
		writeError(w, refuse(http.StatusNotFound, "no_authority", "the portals have a certificate that was given to them, and who signed it is not known here"))
		return
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	w.Write(s.portals.authority)
}
