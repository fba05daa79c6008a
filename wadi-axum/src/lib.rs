//! The WADI session layer and extractor for axum and tower. It knows no protocol.
