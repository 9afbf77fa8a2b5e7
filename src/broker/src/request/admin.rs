//! Requests that change metadata, on shard 0: decoded there, decided on the controller, encoded when they may leave.

use controller::{Controller, Decided};
use model::{ErrorCode, ProducerId};
use wire::{ApiKey, Malformed, Reader, RequestBody, RequestHeader, Requested, ResponseBody, response_frame};

use crate::config::BrokerConfig;
use crate::handlers::describe_quorum::{self, Quorum};
use crate::handlers::{alter_configs, create_partitions, create_topics, delete_topics, init_producer_id};
use crate::mail::Outcome;

/// A decoded request.
pub(crate) struct Asked<'a> {
    version: i16,
    correlation_id: i32,
    body: RequestBody<'a>,
}

/// An answer that may have to wait.
#[derive(Debug)]
pub(crate) struct Answer {
    version: i16,
    correlation_id: i32,
    /// `None`: the asker only waits.
    body: Option<ResponseBody<'static>>,
}

impl<'a> Asked<'a> {
    pub(crate) fn decode(frame: &'a [u8]) -> Result<Asked<'a>, Malformed> {
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader)?;
        let Requested::Served { key, version } = header.requested else {
            return Err(reader.malformed("not a request that is served"));
        };
        let body = RequestBody::decode(key, &mut reader, version)?;
        Ok(Asked { version, correlation_id: header.correlation_id, body })
    }

    pub(crate) fn is_for_producer_id(&self) -> bool {
        self.body.key() == ApiKey::InitProducerId
    }

    /// What is said of the metadata log itself, if that is what is asked: it changes nothing.
    pub(crate) fn described(&self, quorum: &Quorum) -> Option<Answer> {
        let RequestBody::DescribeQuorum(request) = &self.body else { return None };
        Some(self.answer(ResponseBody::DescribeQuorum(describe_quorum::answer(request, quorum))))
    }

    pub(crate) fn decide(
        self,
        controller: &mut Controller,
        config: &BrokerConfig,
        entropy: &mut dyn FnMut() -> u64,
    ) -> Decided<Answer> {
        let (version, correlation_id) = (self.version, self.correlation_id);
        let decided = match &self.body {
            RequestBody::CreateTopics(request) => {
                create_topics::decide(request, controller, config, entropy).map(ResponseBody::CreateTopics)
            }
            RequestBody::DeleteTopics(request) => {
                delete_topics::decide(request, controller, config).map(ResponseBody::DeleteTopics)
            }
            RequestBody::CreatePartitions(request) => {
                create_partitions::decide(request, controller).map(ResponseBody::CreatePartitions)
            }
            RequestBody::AlterConfigs(request) => {
                alter_configs::decide(request, controller, config).map(ResponseBody::AlterConfigs)
            }
            RequestBody::IncrementalAlterConfigs(request) => {
                let decided = alter_configs::decide_incremental(request, controller, config);
                decided.map(ResponseBody::IncrementalAlterConfigs)
            }
            _ => unreachable!("the connection sends no other request here"),
        };
        decided.map(|body| Answer { version, correlation_id, body: Some(body) })
    }

    /// A producer id was given.
    pub(crate) fn granted(self, id: ProducerId) -> Answer {
        self.answer(ResponseBody::InitProducerId(init_producer_id::granted(id)))
    }

    /// The metadata cannot be changed now.
    pub(crate) fn refused(self) -> Answer {
        let mut body = match &self.body {
            RequestBody::CreateTopics(request) => ResponseBody::CreateTopics(create_topics::unanswered(request)),
            RequestBody::DeleteTopics(request) => ResponseBody::DeleteTopics(delete_topics::unanswered(request)),
            RequestBody::CreatePartitions(request) => {
                ResponseBody::CreatePartitions(create_partitions::unanswered(request))
            }
            RequestBody::AlterConfigs(request) => ResponseBody::AlterConfigs(alter_configs::unanswered(request)),
            RequestBody::IncrementalAlterConfigs(request) => {
                ResponseBody::IncrementalAlterConfigs(alter_configs::unanswered_incremental(request))
            }
            RequestBody::InitProducerId(_) => ResponseBody::InitProducerId(init_producer_id::unavailable()),
            _ => unreachable!("the connection sends no other request here"),
        };
        fail(&mut body);
        self.answer(body)
    }

    fn answer(&self, body: ResponseBody<'static>) -> Answer {
        Answer { version: self.version, correlation_id: self.correlation_id, body: Some(body) }
    }
}

impl Answer {
    pub(crate) fn into_frame(self) -> Vec<u8> {
        let body = self.body.expect("a request is answered with a body");
        response_frame(body.key(), self.version, self.correlation_id, |writer| body.encode(writer, self.version))
    }

    pub(crate) fn into_outcome(self) -> Outcome {
        if self.body.is_none() { Outcome::Done } else { Outcome::Frame(self.into_frame()) }
    }

    /// What was decided could not be written.
    pub(crate) fn fail(&mut self) {
        if let Some(body) = &mut self.body {
            fail(body);
        }
    }
}

/// Topics that a metadata request names into being.
pub(crate) fn auto_create(
    names: &[String],
    controller: &mut Controller,
    config: &BrokerConfig,
    entropy: &mut dyn FnMut() -> u64,
) -> Decided<Answer> {
    let decided = create_topics::auto_create(names, controller, config, entropy);
    decided.map(|()| Answer { version: 0, correlation_id: 0, body: None })
}

fn fail(body: &mut ResponseBody<'static>) {
    match body {
        ResponseBody::CreateTopics(response) => create_topics::failed(response),
        ResponseBody::DeleteTopics(response) => delete_topics::failed(response),
        ResponseBody::CreatePartitions(response) => create_partitions::failed(response),
        ResponseBody::AlterConfigs(response) => alter_configs::failed(response),
        ResponseBody::IncrementalAlterConfigs(response) => alter_configs::failed_incremental(response),
        ResponseBody::InitProducerId(response) => {
            response.error_code = ErrorCode::CoordinatorNotAvailable.to_wire();
        }
        _ => unreachable!("no other answer waits for the metadata log"),
    }
}
