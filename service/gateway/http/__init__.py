"""HTTP semantics: middleware, content negotiation, CORS, problem documents."""
