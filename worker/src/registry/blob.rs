//! A blob as it arrives; a connection that breaks is taken up again where it broke.

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};

use super::client::Registry;
use super::error::RegistryError;
use crate::http::HttpError;
use crate::image::Reference;

/// The bytes of a blob, in order.
pub struct BlobStream<'r> {
    registry: &'r Registry,
    reference: Reference,
    url: String,
    response: Response,
    /// How many bytes were handed out.
    offset: u64,
    /// How many bytes of the current answer were handed out before and come again.
    repeated: u64,
    /// How often the connection broke since bytes last came.
    breaks: u32,
}

impl<'r> BlobStream<'r> {
    pub(super) async fn open(
        registry: &'r Registry,
        reference: Reference,
        url: String,
    ) -> Result<Self, RegistryError> {
        let response = registry
            .request(Method::GET, &reference, &url, &HeaderMap::new())
            .await?;
        Ok(Self {
            registry,
            reference,
            url,
            response,
            offset: 0,
            repeated: 0,
            breaks: 0,
        })
    }

    /// Where it comes from.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            match self.response.chunk().await {
                Ok(None) => return Ok(None),
                Ok(Some(chunk)) => {
                    let fresh = self.without_repeated(chunk);
                    if !fresh.is_empty() {
                        self.offset += fresh.len() as u64;
                        self.breaks = 0;
                        return Ok(Some(fresh));
                    }
                }
                Err(error) => self.reopen(&error).await?,
            }
        }
    }

    fn without_repeated(&mut self, mut chunk: Bytes) -> Bytes {
        let skip = usize::try_from(self.repeated)
            .unwrap_or(usize::MAX)
            .min(chunk.len());
        self.repeated -= skip as u64;
        chunk.split_off(skip)
    }

    async fn reopen(&mut self, error: &reqwest::Error) -> Result<(), RegistryError> {
        let settings = self.registry.http.settings();
        if self.breaks == settings.retries {
            return Err(HttpError::of_request(&self.url, error, settings.read_timeout).into());
        }
        self.breaks += 1;
        let mut headers = HeaderMap::new();
        if self.offset > 0 {
            let range = format!("bytes={}-", self.offset);
            headers.insert(RANGE, HeaderValue::from_str(&range).expect("digits"));
        }
        let (reference, url) = (&self.reference, &self.url);
        self.response = self
            .registry
            .request(Method::GET, reference, url, &headers)
            .await?;
        let continues = self.response.status() == StatusCode::PARTIAL_CONTENT;
        self.repeated = if continues { 0 } else { self.offset };
        Ok(())
    }
}
