//! Errors as RFC 9457 problem documents.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::wire;
use crate::state::handle::{ChangeError, ObjectKind};

/// A request that was refused: the status and one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) detail: String,
    pub(super) object: Option<ObjectKind>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            object: None,
        }
    }

    /// 422: understood, and cannot be.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 404: no such object.
    pub(super) fn unknown(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let (status, object) = match error {
            ChangeError::Unknown(kind, _) => (StatusCode::NOT_FOUND, Some(kind)),
            ChangeError::Exists(kind, _) => (StatusCode::CONFLICT, Some(kind)),
            ChangeError::Waiting => (StatusCode::CONFLICT, None),
            ChangeError::Changed(_) => (StatusCode::PRECONDITION_FAILED, None),
            ChangeError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, None),
            ChangeError::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, None),
            ChangeError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, None),
        };
        Self {
            object,
            ..Self::new(status, error.to_string())
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = wire::Problem {
            kind: "about:blank".into(),
            title: self.status.canonical_reason().unwrap_or("Error").into(),
            status: self.status.as_u16(),
            detail: self.detail,
            object: self.object,
        };
        let content_type = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, Json(document)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
        response
    }
}
